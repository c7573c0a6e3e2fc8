import itertools

from hypothesis import given
from hypothesis import strategies as st

from rag_assets.chunking import ChunkerSettings, chunk_document
from rag_assets.documents import Document


def document(content: str, **changes: str) -> Document:
    fields = {"tenant_id": "plant", "document_id": "doc", "version": "1", "title": "Title", "path": "doc.md"}
    return Document(**{**fields, **changes}, md5="", content=content)  # type: ignore[arg-type]


def test_neighbouring_short_sections_share_a_chunk() -> None:
    """Forbids chunks of one line, which match everything and say nothing."""
    chunks = chunk_document(document("# A\n\n## Meaning\n\nShort.\n\n## Impact\n\nAlso short.\n"))

    assert len(chunks) == 1
    assert "## Meaning" in chunks[0].text
    assert "## Impact" in chunks[0].text


def test_tables_and_code_are_never_torn() -> None:
    """Forbids half a command or half a table, which are worse than none."""
    table = "\n".join(["| a | b |", "|---|---|", *(f"| row {n} | {'x' * 60} |" for n in range(30))])
    code = "```bash\n" + "\n".join(f"command --number {n} {'y' * 40}" for n in range(40)) + "\n```"
    content = f"# T\n\n{'Text. ' * 120}\n\n{table}\n\n{'More text. ' * 80}\n\n{code}\n"

    chunks = chunk_document(document(content))

    assert sum(table in chunk.text for chunk in chunks) == 1
    assert sum(code in chunk.text for chunk in chunks) == 1


def test_a_step_keeps_the_command_that_belongs_to_it() -> None:
    """Forbids that a step and its indented command land in two chunks."""
    step = "1. Restart the agent:\n\n   ```bash\n   systemctl restart agent\n   ```"
    content = "# T\n\n## Steps\n\n" + "Filler sentence here. " * 44 + f"\n\n{step}\n2. Wait.\n"

    chunks = chunk_document(document(content))

    assert any(step in chunk.text for chunk in chunks)


def test_cut_sections_overlap_and_say_by_how_much() -> None:
    """Forbids that a sentence on a border is lost, and that text put together again is doubled."""
    content = "# T\n\n" + "\n\n".join(f"Paragraph {n} {'word ' * 30}." for n in range(20))
    chunks = chunk_document(document(content))

    assert len(chunks) > 2
    for before, after in itertools.pairwise(chunks):
        assert 0 < after.overlap_characters <= 202  # 200 and the blank line
        assert before.text.endswith(after.text[: after.overlap_characters].strip())
    together = "\n\n".join(chunk.text[chunk.overlap_characters :] for chunk in chunks)
    assert together.split() == content.split()


def test_identity_is_made_of_tenant_document_version_and_content() -> None:
    """Forbids that two tenants' equal documents overwrite each other, and that a build gives other ids."""
    text = "# A\n\nSame text."
    original = chunk_document(document(text))[0]

    assert chunk_document(document(text))[0].chunk_id == original.chunk_id
    assert chunk_document(document(text, tenant_id="other"))[0].chunk_id != original.chunk_id
    assert chunk_document(document(text, version="2"))[0].chunk_id != original.chunk_id
    assert chunk_document(document("# A\n\nOther text."))[0].chunk_id != original.chunk_id


def test_an_insertion_at_the_top_keeps_the_chunks_below() -> None:
    """Forbids that one new section makes all others new, which would embed them all again."""
    sections = "\n\n".join(f"## Section {n}\n\n{'word ' * 190}" for n in range(6))
    before = {chunk.content_hash for chunk in chunk_document(document(sections))}
    after = {
        chunk.content_hash for chunk in chunk_document(document(f"## New\n\n{'fresh ' * 160}\n\n{sections}"))
    }

    assert before < after
    assert len(after - before) == 1


@given(st.text(alphabet=st.sampled_from("ab .\n#|`-1"), max_size=3000))
def test_no_text_is_lost_whatever_the_markdown(content: str) -> None:
    """Forbids that odd Markdown makes text vanish from the index."""
    chunks = chunk_document(document(content), ChunkerSettings(200, 40))
    indexed = " ".join(chunk.text for chunk in chunks).split()

    assert set(content.split()) <= set(indexed) | {word for word in content.split() if len(word) > 160}
