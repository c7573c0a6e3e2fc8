from pathlib import Path

import pytest

from rag_assets.documents import read_folder


def write(root: Path, path: str, text: str | bytes) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)


def test_plain_markdown_needs_no_front_matter(tmp_path: Path) -> None:
    """Forbids that only our own corpus can be indexed."""
    write(tmp_path, "pumps/seal.md", "Intro.\n\n# Replace the seal\n\nDrain first.\n")
    write(tmp_path, "pumps/notes.md", "```bash\n# not a heading\n```\n")

    collection = read_folder(tmp_path, "plant")

    by_id = {document.document_id: document for document in collection.documents}
    assert by_id["pumps/seal"].title == "Replace the seal"
    assert by_id["pumps/notes"].title == "notes"  # a comment in a shell block is no title
    assert {document.tenant_id for document in collection.documents} == {"plant"}


def test_broken_files_are_listed_and_do_not_stop_the_others(tmp_path: Path) -> None:
    """Forbids that one bad file hides a whole folder, or disappears without a word."""
    write(tmp_path, "a.md", "# Fine\n\ntext")
    write(tmp_path, "b.md", "---\ntitle: [unclosed\n---\ntext")
    write(tmp_path, "c.md", b"\xff\xfe\x00bad")
    write(tmp_path, "d.md", "---\ntitle: only front matter\n---\n")
    write(tmp_path, "e.md", "---\neffective_date: soon\n---\ntext")
    write(tmp_path, "f.md", "---\neffective_date: 2026-02-30\n---\ntext")
    write(tmp_path, "g.md", "---\neffective_date: 2026-13-01\n---\ntext")
    write(tmp_path, "h.html", "<div>" * 3000 + "text")
    write(tmp_path, "i.txt", "Grease\x00 it.")
    write(tmp_path, "j.txt", "text")
    write(tmp_path, "j.txt.meta.yaml", 'owner: "\\ud800"')
    write(tmp_path, "k.txt", "text")
    write(tmp_path, "k.txt.meta.yaml", "tags: " + "[" * 3000)
    write(tmp_path, "m.html", "<p>a</p><![oops[")
    write(tmp_path, "l.md", f"---\nid: {'x' * 3000}\n---\ntext")

    collection = read_folder(tmp_path, "plant")

    assert [document.path for document in collection.documents] == ["a.md"]
    reasons = {item.path: item.reason for item in collection.broken}
    assert "not valid YAML" in reasons["b.md"]
    assert "not UTF-8" in reasons["c.md"]
    assert "no text" in reasons["d.md"]
    assert "not a date" in reasons["e.md"]
    assert "day is out of range" in reasons["f.md"]
    assert "month must be in" in reasons["g.md"]
    assert "nested too deeply" in reasons["h.html"]
    assert "NUL" in reasons["i.txt"]
    assert "half a character" in reasons["j.txt"]
    assert "nested too deeply" in reasons["k.txt"]
    assert "not HTML" in reasons["m.html"]
    assert "longer than 2000 bytes" in reasons["l.md"]


def test_a_file_that_may_not_be_read_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids that one file of another user stops the whole folder."""
    write(tmp_path, "a.md", "text")
    write(tmp_path, "b.md", "text")
    write(tmp_path, "c\udcff.md", "text")  # a file name that is not UTF-8
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "a.md":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    collection = read_folder(tmp_path, "plant")

    assert [document.path for document in collection.documents] == ["b.md", "c\ufffd.md"]
    assert [(item.path, item.reason) for item in collection.broken] == [
        ("a.md", "the file can't be read: Permission denied")
    ]


def test_a_file_of_another_tenant_is_refused(tmp_path: Path) -> None:
    """Forbids that indexing a folder for one tenant publishes another tenant's document."""
    write(tmp_path, "theirs.md", "---\ntenant: other\n---\nsecret")

    collection = read_folder(tmp_path, "plant")

    assert not collection.documents
    assert "belongs to tenant 'other'" in collection.broken[0].reason


def test_without_a_tenant_each_file_names_its_own(tmp_path: Path) -> None:
    """Forbids a default tenant: a document without owner would be anybody's."""
    write(tmp_path, "owned.md", "---\ntenant: plant\n---\ntext")
    write(tmp_path, "orphan.md", "text")

    collection = read_folder(tmp_path)

    assert [document.path for document in collection.documents] == ["owned.md"]
    assert "names no tenant" in collection.broken[0].reason


def test_an_id_and_version_that_are_taken_are_reported(tmp_path: Path) -> None:
    """Forbids that one of two equal ids silently wins."""
    write(tmp_path, "a.md", "---\nid: same\n---\nfirst")
    write(tmp_path, "b.md", "---\nid: same\n---\nsecond")

    collection = read_folder(tmp_path, "plant")

    assert [document.content for document in collection.documents] == ["first"]
    assert "taken by a.md" in collection.broken[0].reason


def test_a_missing_folder_says_so(tmp_path: Path) -> None:
    """Forbids that a typing error in the path empties the corpus."""
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        read_folder(tmp_path / "absent", "plant")
