"""Markdown documents to chunks: by heading, about 1000 characters, 200 of overlap where a section is cut.

Tables, code blocks and list items are never torn. Add another strategy as a function with the
signature of `chunk_document`. Avoid embedding and search terms here.
"""

import hashlib
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rag_assets.documents import Document

CHUNK_NAMESPACE = uuid.UUID("6f1c1a56-5f0e-5e0c-9d3c-0a1c7b0f2d11")
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"^\s*(`{3,}(?=[^`]*$)|~{3,})(.*)$")
_TABLE_RULE = re.compile(r"\|?\s*:?-+:?(?:\s*\|\s*:?-+:?)*\s*\|?")
_TABLE_START = re.compile(r"^\s*<table\b", re.IGNORECASE)
_TABLE_TAG = re.compile(r"<(/?)table\b", re.IGNORECASE)
_INDENTED = re.compile(r"^(?: {4}|\t)")
_LIST_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class ChunkerSettings:
    """How long chunks are, in characters.

    Attributes:
        max_characters: Neighbouring sections are merged up to this; longer ones are cut near it.
        overlap_characters: How much of the end of a cut piece the next one repeats, at most.
    """

    max_characters: int = 1000
    overlap_characters: int = 200

    @property
    def name(self) -> str:
        """What an index build is stamped with."""
        return f"markdown-2-{self.max_characters}/{self.overlap_characters}"


@dataclass(frozen=True)
class Chunk:
    """One passage of a document.

    Attributes:
        chunk_id: uuid5 of tenant, document id, version and content hash.
        content_hash: SHA-256 of title and text.
        section: Path of headings at the chunk's start, `Procedure > Drain the tank`.
        text: The Markdown as written, heading lines included.
        ordinal: Position in the document, from 0.
        overlap_characters: Leading characters that repeat the end of the previous chunk.
    """

    chunk_id: str
    content_hash: str
    title: str
    section: str
    text: str
    ordinal: int
    overlap_characters: int


def chunk_hash(title: str, text: str) -> str:
    """Content hash of a passage: SHA-256 of title and text, hexadecimal."""
    return hashlib.sha256(f"{title}\n{text}".encode()).hexdigest()


@dataclass(frozen=True)
class _Block:
    """A run of lines that stays together, under a path of headings."""

    headings: tuple[str, ...]
    text: str
    is_prose: bool
    opens_section: bool = False


def chunk_document(document: Document, settings: ChunkerSettings | None = None) -> tuple[Chunk, ...]:
    """Cut a document into chunks.

    Args:
        document: The document; its content is Markdown.
        settings: Lengths; by default 1000 and 200 characters.

    Returns:
        Chunks in order. A passage that occurs twice word for word is kept once, because its id
        is made of its content. Only a table, a code block or a list item longer than
        `max_characters` makes a longer chunk.
    """
    settings = settings or ChunkerSettings()
    chunks: dict[str, Chunk] = {}
    # Ids may hold slashes. Where tenant and version hold none, no two documents give one name.
    tenant, version = (
        name.replace("%", "%25").replace("/", "%2F") for name in (document.tenant_id, document.version)
    )
    for section, text, overlap in _pieces(document.content, settings):
        digest = chunk_hash(document.title, text)
        identity = f"{tenant}/{document.document_id}/{version}/{digest}"
        chunk_id = str(uuid.uuid5(CHUNK_NAMESPACE, identity))
        if chunk_id not in chunks:
            chunks[chunk_id] = Chunk(chunk_id, digest, document.title, section, text, len(chunks), overlap)
    return tuple(chunks.values())


def _pieces(markdown: str, settings: ChunkerSettings) -> Iterator[tuple[str, str, int]]:
    """Section path, text and overlap of each chunk."""
    pending: list[_Block] = []
    for section in _sections(markdown, settings):
        length = _length(section)
        if pending and _length(pending) + 2 + length > settings.max_characters:
            yield from _cut(pending, settings)
            pending = []
        pending = pending + section
    if pending:
        yield from _cut(pending, settings)


def _cut(blocks: list[_Block], settings: ChunkerSettings) -> Iterator[tuple[str, str, int]]:
    """One chunk if the blocks fit, else several with overlap."""
    current: list[_Block] = []
    overlap = 0
    for block in blocks:
        if current and _length(current) + 2 + len(block.text) > settings.max_characters:
            yield _joined(current, overlap)
            current = _tail(current, block, settings)
            overlap = _length(current) + 2 if current else 0
        current = [*current, block]
    yield _joined(current, overlap)


def _joined(blocks: list[_Block], overlap: int) -> tuple[str, str, int]:
    return " > ".join(blocks[0].headings), "\n\n".join(block.text for block in blocks), overlap


def _tail(blocks: list[_Block], following: _Block, settings: ChunkerSettings) -> list[_Block]:
    """The end of a full chunk that the next chunk repeats; nothing where it would not fit."""
    room = min(settings.overlap_characters, settings.max_characters - len(following.text) - 2)
    last = blocks[-1]
    if len(last.text) <= room:
        return [last]
    if not last.is_prose:
        return []
    sentences = _SENTENCE_END.split(last.text)
    kept: list[str] = []
    while sentences and sum(map(len, kept)) + len(kept) + len(sentences[-1]) <= room:
        kept.insert(0, sentences.pop())
    return [_Block(last.headings, " ".join(kept), is_prose=True)] if kept else []


def _length(blocks: list[_Block]) -> int:
    return sum(len(block.text) for block in blocks) + 2 * max(0, len(blocks) - 1)


def _sections(markdown: str, settings: ChunkerSettings) -> Iterator[list[_Block]]:
    section: list[_Block] = []
    for block in _blocks(markdown):
        if block.opens_section and section:
            yield section
            section = []
        section.extend(_split_prose(block, settings))
    if section:
        yield section


def _split_prose(block: _Block, settings: ChunkerSettings) -> Iterator[_Block]:
    """A paragraph longer than a chunk, cut after sentences (or words, where a sentence is that long)."""
    if not block.is_prose or len(block.text) <= settings.max_characters:
        yield block
        return
    budget = settings.max_characters - settings.overlap_characters
    current = ""
    for sentence in _SENTENCE_END.split(block.text):
        for part in _hard_wrap(sentence, budget):
            if current and len(current) + 1 + len(part) > budget:
                yield _Block(block.headings, current, is_prose=True)
                current = part
            else:
                current = f"{current} {part}" if current else part
    yield _Block(block.headings, current, is_prose=True)


def _hard_wrap(sentence: str, budget: int) -> Iterator[str]:
    while len(sentence) > budget:
        space = sentence.rfind(" ", 0, budget)
        cut = space if space > 0 else budget
        yield sentence[:cut]
        sentence = sentence[cut:].lstrip()
    yield sentence


def _blocks(markdown: str) -> Iterator[_Block]:
    """Headings, paragraphs, list items, tables and code, in order."""
    headings: list[tuple[int, str]] = []
    lines: list[str] = []
    kind = "prose"

    def flush() -> Iterator[_Block]:
        text = "\n".join(lines).strip("\n")
        lines.clear()
        if text.strip():
            yield _Block(tuple(name for _, name in headings), text, is_prose=kind == "prose")

    written = markdown.splitlines()
    tables = _raw_tables(written)
    fence: str | None = None
    in_list = False
    for number, line in enumerate(written):
        marker = None if number in tables else _FENCE.match(line)
        if fence:
            lines.append(line)
            if marker and marker.group(1).startswith(fence) and not marker.group(2).strip():
                fence = None
                yield from flush()
                kind = "prose"
            continue
        # A list ends with a line at the margin after a blank one; without the blank it is wrapped text.
        is_at_margin = bool(line.strip()) and not line[0].isspace()
        in_list = in_list and not (is_at_margin and number and not written[number - 1].strip())
        heading = None if number in tables else _HEADING.match(line)
        if heading:
            yield from flush()
            in_list = False
            level = len(heading.group(1))
            headings = [item for item in headings if item[0] < level] + [(level, heading.group(2))]
            yield _Block(tuple(name for _, name in headings), line, is_prose=False, opens_section=True)
            kind = "prose"
            continue
        following = written[number + 1] if number + 1 < len(written) else ""
        if number in tables:
            next_kind = "raw table"
        elif marker:
            # A fence inside a list item belongs to its step: command and instruction stay together.
            next_kind = kind if kind == "item" and line[0].isspace() else "code"
        else:
            before = kind if kind != "prose" else ("prose" if lines else "blank")
            next_kind = _line_kind(line, following, before, in_list)
            in_list = in_list or next_kind == "item"
        if next_kind != kind or (next_kind == "item" and _LIST_ITEM.match(line) and not line[0].isspace()):
            yield from flush()
            kind = next_kind
        if marker:
            fence = marker.group(1)
        lines.append(line)
    yield from flush()


def _line_kind(line: str, following: str, kind: str, in_list: bool) -> str:
    """What a line outside fences belongs to.

    Args:
        line: The line.
        following: The next one.
        kind: Of the line before; `blank` where a block has just ended.
        in_list: Whether lines that are indented may belong to a list item above.
    """
    if kind == "indented" and (_INDENTED.match(line) or not line.strip()):
        return "indented"
    if line.lstrip().startswith("|"):
        return "table"
    if _LIST_ITEM.match(line):
        return "item"
    if not line.strip():
        return kind if kind == "item" else "blank"
    if kind == "item" and line[0].isspace():
        return "item"
    if "|" in line and (kind == "table" or ("|" in following and _TABLE_RULE.fullmatch(following.strip()))):
        return "table"
    # Text directly above makes it a paragraph's second line.
    is_code = not in_list and kind != "prose" and _INDENTED.match(line)
    return "indented" if is_code else "prose"


def _raw_tables(lines: Sequence[str]) -> frozenset[int]:
    """Numbers of the lines between `<table>` and its `</table>`; one that never ends is text."""
    found: set[int] = set()
    started, depth = 0, 0
    for number, line in enumerate(lines):
        if not depth and not _TABLE_START.match(line):
            continue
        if not depth:
            started = number
        depth += sum(-1 if end else 1 for end in _TABLE_TAG.findall(line))
        if depth <= 0:
            found.update(range(started, number + 1))
            depth = 0
    return frozenset(found)
