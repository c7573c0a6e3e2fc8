import itertools

import pytest
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


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(
            "part | torque\n---|---\n" + "\n".join(f"bolt {n} | {'5' * 60}" for n in range(30)),
            id="table without outer pipes",
        ),
        pytest.param(
            "<table>\n\n"
            + "\n\n".join(f"<tr><td>bolt {n}</td><td>{'5' * 60}</td></tr>" for n in range(30))
            + "\n<tr><td><table><tr><td># 1</td></tr></table></td></tr>\n</table>",
            id="raw table",
        ),
        pytest.param(
            "\n\n".join(f"    command --number {n} {'y' * 40}" for n in range(40)), id="indented code"
        ),
        pytest.param("\tfirst\n\n" + "\n".join(f"\tcommand {n} {'y' * 40}" for n in range(40)), id="tabs"),
        pytest.param(
            "````markdown\n```bash\n" + "a `b` c\n\n" * 150 + "```\n~~~~~\n\n# comment\n````",
            id="fence around a fence",
        ),
        pytest.param("~~~\n" + "line\n\n" * 250 + "~~~ no end\n```\nstill code\n~~~", id="info string"),
    ],
)
def test_other_forms_of_tables_and_code_are_never_torn(block: str) -> None:
    """Forbids that only the most usual Markdown is kept whole."""
    content = f"# T\n\n{'Text. ' * 120}\n\n{block}\n\nThe end.\n\n## Next\n\n{'More text. ' * 80}\n"

    chunks = chunk_document(document(content))

    assert sum(block in chunk.text for chunk in chunks) == 1
    assert chunks[-1].section in ("T > Next", "T")


def test_what_only_looks_like_a_block_is_cut_as_text() -> None:
    """Forbids that a table which never ends, or wrapped text, makes one chunk of a whole document."""
    sentences = "The pump runs hot. " * 30
    content = (
        f"# T\n\n<table> is a tag.\n\n{sentences}\n\n{sentences}\n\n"
        f"1. Step\nwrapped text\n\n    {sentences}\n\n``` inline ``` and {sentences}\n\n{sentences}\n"
    )

    chunks = chunk_document(document(content))

    assert max(len(chunk.text) for chunk in chunks) <= 1000
    assert any("``` inline ``` and The pump" in chunk.text for chunk in chunks)


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


def test_names_with_slashes_share_no_identity() -> None:
    """Forbids that tenant `a` with document `b/c` overwrites tenant `a/b` with document `c`."""
    names = [
        ("a", "b/c", "1"),
        ("a/b", "c", "1"),
        ("a%2Fb", "c", "1"),
        ("a", "b", "c/1"),
        ("a", "b/c/1", "1"),
    ]
    found = {
        chunk_document(document("Same text.", tenant_id=tenant, document_id=name, version=version))[
            0
        ].chunk_id
        for tenant, name, version in names
    }

    assert len(found) == len(names)


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
