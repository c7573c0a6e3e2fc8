"""One file's bytes to Markdown and metadata, by its suffix; a sidecar's metadata goes over the file's own.

Add a format as a module with a function from bytes to `Content`, and an entry in `READERS`. Avoid
deciding here whose document it is or whether it changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, cast

SIDECAR_SUFFIX = ".meta.yaml"
"""`manual.pdf.meta.yaml` beside `manual.pdf` says what front matter says in Markdown."""


@dataclass(frozen=True)
class Content:
    """What a file says.

    Attributes:
        markdown: Text with headings, tables and code as Markdown.
        metadata: Front matter, or what the format itself carries (`title`, `language`).
    """

    markdown: str
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


class UnreadableError(Exception):
    """Why a file cannot become a document, in words for its owner."""


def read_content(path: str, raw: bytes, sidecar: bytes | None = None) -> Content:
    """Read a file.

    Args:
        path: Its name; the suffix tells the format.
        raw: Its bytes.
        sidecar: Bytes of the YAML file beside it.

    Raises:
        UnreadableError: The file or its sidecar can't be read, or there is no text in it.
    """
    try:
        content = READERS[PurePosixPath(path).suffix.lower()](raw)
        beside = {} if sidecar is None else _sidecar(sidecar)
    except RecursionError as error:
        raise UnreadableError("its elements are nested too deeply to be read") from error
    except ValueError as error:  # PyYAML's on a value that looks like a date or number and is none
        raise UnreadableError(f"a value of its metadata can't be read: {error}") from error
    if not content.markdown.strip():
        raise UnreadableError("no text in the file" if content.metadata else "no text below the front matter")
    return Content(content.markdown, {**content.metadata, **beside})


def decoded(raw: bytes) -> str:
    """UTF-8 text.

    Raises:
        UnreadableError: The bytes are something else.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not UTF-8 text (byte {error.start})") from error


def _markdown(raw: bytes) -> Content:
    import frontmatter
    import yaml

    text = decoded(raw)
    try:
        post = frontmatter.loads(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 2}" if mark else ""
        raise UnreadableError(f"front matter is not valid YAML{where}") from error
    return Content(post.content.strip(), cast(dict[str, Any], post.metadata))


def _plain(raw: bytes) -> Content:
    """Plain text as it stands; a `#` at the start of a line is no heading here."""
    lines = decoded(raw).strip().splitlines()
    text = "\n".join(f"\\{line}" if line.startswith("#") else line for line in lines)
    return Content(text, {"title": lines[0].strip()[:120]} if lines else {})


def _html(raw: bytes) -> Content:
    from rag_assets.formats.html import read_html

    return read_html(raw)


def _pdf(raw: bytes) -> Content:
    from rag_assets.formats.pdf import read_pdf

    return read_pdf(raw)


def _sidecar(raw: bytes) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(decoded(raw))
    except yaml.YAMLError as error:
        raise UnreadableError(f"its sidecar *{SIDECAR_SUFFIX} is not valid YAML") from error
    if not isinstance(found, dict):
        raise UnreadableError(f"its sidecar *{SIDECAR_SUFFIX} must hold `name: value` lines")
    return cast(dict[str, Any], found)


READERS: Mapping[str, Callable[[bytes], Content]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": _html,
    ".htm": _html,
    ".pdf": _pdf,
    ".txt": _plain,
}
"""Suffix → reader."""
