import io
from pathlib import Path

import pytest

from rag_assets.chunking import chunk_document
from rag_assets.documents import SourceFile, read_file, read_files, read_folder
from rag_assets.formats.content import UnreadableError, read_content

PAGE = b"""<html lang="de"><head><title>Pump seal</title><meta name="id" content="seal">
<style>p {color: red}</style></head><body><nav>Home</nav><h1>Pump seal</h1>
<p>Replace it <b>when it leaks</b>. Use <code>seal-kit 4</code>.</p><h2>Codes</h2>
<table><tr><th>code</th><th>meaning</th></tr><tr><td>E301</td><td>low | pressure</td></tr></table>
<ol><li>Stop the pump<ul><li>lock it out</li></ul></li><li>Run<pre>drain --all
wait</pre></li></ol><!-- draft --><script>alert(1)</script></body></html>"""


def pdf(*lines: tuple[float, str, int], table: bool = False) -> bytes:
    """A one-page PDF with lines of text at a height and size, and perhaps a ruled table of 2 by 2."""
    parts = [f"BT /F1 {size} Tf 72 {top} Td ({text}) Tj ET" for top, text, size in lines]
    if table:
        cells = (("code", 100, 380), ("meaning", 220, 380), ("E301", 100, 355), ("low pressure", 220, 355))
        parts += [f"BT /F1 10 Tf {x} {y} Td ({text}) Tj ET" for text, x, y in cells]
        parts += [f"90 {y} m 390 {y} l S" for y in (345, 370, 395)]
        parts += [f"{x} 345 m {x} 395 l S" for x in (90, 210, 390)]
    stream = "\n".join(parts)
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    file = io.BytesIO()
    file.write(b"%PDF-1.4\n")
    places: list[int] = []
    for number, text in enumerate(objects, start=1):
        places.append(file.tell())
        file.write(f"{number} 0 obj\n{text}\nendobj\n".encode())
    start = file.tell()
    entries = "".join(f"{place:010d} 00000 n \n" for place in places)
    file.write(f"xref\n0 6\n0000000000 65535 f \n{entries}trailer\n<< /Size 6 /Root 1 0 R >>\n".encode())
    file.write(f"startxref\n{start}\n%%EOF".encode())
    return file.getvalue()


def test_html_keeps_headings_tables_lists_and_commands() -> None:
    """Forbids that a runbook from a wiki arrives as one run of words."""
    content = read_content("seal.html", PAGE)

    assert content.metadata == {"title": "Pump seal", "language": "de", "id": "seal"}
    assert content.markdown.split("\n\n") == [
        "# Pump seal",
        "Replace it when it leaks. Use `seal-kit 4`.",
        "## Codes",
        "| code | meaning |\n| --- | --- |\n| E301 | low \\| pressure |",
        "1. Stop the pump\n   - lock it out\n2. Run\n   ```\n   drain --all\n   wait\n   ```",
    ]


def test_html_fields_say_all_that_front_matter_does() -> None:
    """Forbids a page whose two models become one that no machine has, or that can't supersede another."""
    fields = {
        "machine_models": "HX-500, HX-700", "supersedes": "tray, seal@1", "tags": "E301", "language": "fr",
    }  # fmt: skip
    head = "".join(f'<meta name="{name}" content="{value}">' for name, value in fields.items())

    found = read_file(SourceFile("a.html", f"<html lang=en>{head}<p>text</p>".encode()), "plant")
    scalar = read_file(SourceFile("a.md", b"---\nmachine_models: HX-500, HX-700\n---\ntext"), "plant")

    assert found.machine_models == scalar.machine_models == ("HX-500", "HX-700")
    assert (found.supersedes, found.tags, found.language) == (("tray", "seal@1"), ("E301",), "fr")


def test_pdf_keeps_headings_and_tables() -> None:
    """Forbids that a manual's table of codes is torn into loose numbers."""
    raw = pdf((720, "Coolant pump", 20), (690, "The pump runs at 6 bar.", 10), (430, "Codes", 14), table=True)

    document = read_file(SourceFile("manual.pdf", raw), "plant")

    assert document.title == "Coolant pump"
    assert document.content.split("\n\n") == [
        "# Coolant pump",
        "The pump runs at 6 bar.",
        "## Codes",
        "| code | meaning |\n| --- | --- |\n| E301 | low pressure |",
    ]
    assert any("| E301 | low pressure |" in chunk.text for chunk in chunk_document(document))


@pytest.mark.parametrize(
    ("path", "raw", "reason"),
    [
        ("torn.pdf", b"%PDF-1.4 garbage", "not a readable PDF"),
        ("scan.pdf", pdf(), "its pages are pictures"),
        ("empty.html", b"<html><title>x</title><script>1</script></html>", "no text in the file"),
        ("bytes.txt", b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_listed_with_its_reason(path: str, raw: bytes, reason: str) -> None:
    """Forbids that one broken file stops the build, or vanishes without a word."""
    found = read_files([SourceFile(path, raw), SourceFile("good.txt", b"Grease the bearing.")], "plant")

    assert [document.path for document in found.documents] == ["good.txt"]
    assert reason in found.broken[0].reason


def test_a_sidecar_says_what_a_format_cannot(tmp_path: Path) -> None:
    """Forbids that a PDF or a text file can't be dated, and that a new sidecar goes unnoticed."""
    (tmp_path / "pump.txt").write_text("Grease the pump monthly.")
    bare = read_folder(tmp_path, "plant").documents[0]
    (tmp_path / "pump.txt.meta.yaml").write_text("id: pump-grease\neffective_date: 2026-02-01\nversion: 2\n")

    document = read_folder(tmp_path, "plant").documents[0]

    assert (document.key, str(document.effective_on)) == ("pump-grease@2", "2026-02-01")
    assert document.md5 != bare.md5


def test_a_sidecar_cannot_move_a_document_to_another_tenant() -> None:
    """Forbids a leak through metadata."""
    with pytest.raises(UnreadableError, match="belongs to tenant"):
        read_file(SourceFile("a.txt", b"text", b"tenant: other"), "plant")


def test_an_unchanged_file_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids parsing 500 PDF manuals to find that one has changed."""
    files = [SourceFile("a.txt", b"one"), SourceFile("b.txt", b"two")]
    known = {item.path: [item] for item in read_files(files, "plant").documents}
    read: list[str] = []
    monkeypatch.setattr(
        "rag_assets.documents.read_file", lambda file, tenant: read.append(file.path) or known["b.txt"][0]
    )

    read_files([files[0], SourceFile("b.txt", b"three")], "plant", known)

    assert read == ["b.txt"]
