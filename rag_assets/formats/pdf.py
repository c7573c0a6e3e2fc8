"""PDF to Markdown with pdfplumber: lines in reading order, headings by their size, tables as tables.

Avoid optical recognition: a scan without text is told as such.
"""

# The library leaves its page types open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import io
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import pdfplumber

from rag_assets.formats.content import Content, UnreadableError
from rag_assets.formats.tables import markdown_table

_HEADING_RATIO = 1.15  # letters this much larger than the usual ones, or bold ones on a short line
_LONGEST_HEADING = 90
_PARAGRAPH_GAP = 0.6  # of a line's height


def read_pdf(raw: bytes) -> Content:
    """The text of all pages.

    Raises:
        UnreadableError: It is no PDF, it is locked, or its pages are pictures.
    """
    try:
        with pdfplumber.open(io.BytesIO(raw)) as document:
            title = str((document.metadata or {}).get("Title") or "").strip()
            pages = [_lines_and_tables(page) for page in document.pages]
    except Exception as error:
        # pdfminer raises its own and plain Python errors on damaged files; each means the same here.
        raise UnreadableError(f"not a readable PDF ({type(error).__name__}: {error})"[:200]) from error
    # Letter by letter: a manual's cover has more headings than text.
    lines = [item for page in pages for item in page if "table" not in item]
    sizes = [item["size"] for item in lines for _ in item["text"]]
    if not sizes:
        raise UnreadableError("no text in it: its pages are pictures; run text recognition over them")
    usual = statistics.median(sizes)
    larger = sorted({round(size, 1) for size in sizes if size > usual * _HEADING_RATIO}, reverse=True)
    blocks = [block for page in pages for block in _blocks(page, usual, larger)]
    return Content("\n\n".join(blocks), {"title": title} if title else {"format": "pdf"})


def _lines_and_tables(page: Any) -> list[dict[str, Any]]:
    """Lines outside tables and the tables, from top to bottom."""
    tables = page.find_tables()
    found: list[dict[str, Any]] = [
        {"top": table.bbox[1], "bottom": table.bbox[3], "table": table.extract()} for table in tables
    ]
    boxes = [table.bbox for table in tables]
    for line in page.extract_text_lines(return_chars=True):
        middle = (line["top"] + line["bottom"]) / 2
        if any(box[1] <= middle <= box[3] and box[0] <= line["x0"] <= box[2] for box in boxes):
            continue
        letters = [char for char in line["chars"] if not char["text"].isspace()]
        if letters:
            size = statistics.median(char["size"] for char in letters)
            is_bold = all("bold" in char["fontname"].lower() for char in letters)
            found.append({**line, "size": size, "is_bold": is_bold})
    return sorted(found, key=lambda item: item["top"])


def _blocks(items: Sequence[dict[str, Any]], usual: float, larger: Sequence[float]) -> Iterator[str]:
    paragraph: list[str] = []
    previous: dict[str, Any] | None = None
    for item in items:
        level = None if "table" in item else _heading_level(item, usual, larger)
        is_apart = previous is not None and (
            item["top"] - previous["bottom"] > _PARAGRAPH_GAP * (previous["bottom"] - previous["top"])
        )
        if paragraph and ("table" in item or level or is_apart):
            yield "\n".join(paragraph)
            paragraph = []
        if "table" in item:
            yield markdown_table(item["table"])
        elif level:
            yield f"{'#' * level} {item['text'].strip()}"
        else:
            paragraph.append(item["text"].strip())
        previous = item
    if paragraph:
        yield "\n".join(paragraph)


def _heading_level(line: dict[str, Any], usual: float, larger: Sequence[float]) -> int | None:
    if len(line["text"]) > _LONGEST_HEADING:
        return None
    if line["size"] > usual * _HEADING_RATIO:
        return min(larger.index(round(line["size"], 1)) + 1, 5)
    is_sentence = line["text"].rstrip().endswith((".", ",", ";", ":"))
    return min(len(larger) + 1, 6) if line["is_bold"] and not is_sentence else None
