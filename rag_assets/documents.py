"""Documents as the knowledge base sees them, and the reader of a folder of Markdown.

Add a reader of another source (PDF, HTML, an S3 prefix) as a function that returns `Collection`.
Avoid chunking, cleaning for search, and storage here.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Any, cast

import frontmatter
import yaml

CORPUS_DIR = Path(__file__).with_name("corpus")
"""The project's own runbooks and manuals."""

DEFAULT_VERSION = "1"
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Document:
    """One version of one document of one tenant.

    Attributes:
        tenant_id: Owner; nobody else may ever see it.
        document_id: Stable across versions; the path without suffix where no id is given.
        version: Text, compared only by equality; `effective_on` decides which version is newer.
        title: Title of the front matter, else the first heading, else the file's name.
        path: Relative to the folder that was read, with forward slashes.
        md5: Of the file's bytes: the first gate of "did it change?".
        content: Markdown without front matter.
        effective_on: First day on which the text holds; None means always.
        supersedes: Document ids, or `id@version`, that this document replaces.
        machine_models: Models that it is written for; empty means all.
        firmware: Firmware that it is written for (`4.2`, `>=4.2`, `4.1 - 4.2`); None means all.
        owner: Who answers for the text.
        language: BCP 47 tag.
        kind: What sort of text it is: `runbook`, `manual`, `component`, `service`.
        tags: Names that it should be found by, such as error codes.
    """

    tenant_id: str
    document_id: str
    version: str
    title: str
    path: str
    md5: str
    content: str
    effective_on: date | None = None
    supersedes: tuple[str, ...] = ()
    machine_models: tuple[str, ...] = ()
    firmware: str | None = None
    owner: str | None = None
    language: str = "en"
    kind: str = ""
    tags: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`id@version`, unique within a tenant."""
        return f"{self.document_id}@{self.version}"


@dataclass(frozen=True)
class BrokenDocument:
    """A file that could not become a document, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Collection:
    """What reading a source gave: the documents, and the files that were left out."""

    documents: tuple[Document, ...]
    broken: tuple[BrokenDocument, ...] = field(default=())


def read_folder(root: Path, tenant_id: str | None = None) -> Collection:
    """Read every Markdown file below a folder.

    A broken file is listed with its reason and does not stop the others.

    Args:
        root: Folder; searched recursively for `*.md` and `*.markdown`, hidden folders left out.
        tenant_id: Owner of files that name no tenant. A file that names another tenant is broken:
            it would otherwise become visible to the wrong one. None: each file must name its own.

    Returns:
        Documents in the order of their paths, and the broken files.

    Raises:
        NotADirectoryError: `root` is not a folder.
    """
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder: give a folder that holds Markdown files")
    documents: dict[tuple[str, str], Document] = {}
    broken: list[BrokenDocument] = []
    for path in _markdown_files(root):
        relative = path.relative_to(root).as_posix()
        try:
            document = _read_file(path, relative, tenant_id)
        except _UnreadableError as error:
            broken.append(BrokenDocument(relative, str(error)))
            continue
        first = documents.setdefault((document.tenant_id, document.key), document)
        if first is not document:
            broken.append(
                BrokenDocument(relative, f"id and version {document.key} are taken by {first.path}")
            )
    return Collection(tuple(documents.values()), tuple(broken))


class _UnreadableError(Exception):
    """Why a file cannot become a document."""


def _markdown_files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.suffix.lower() in {".md", ".markdown"} and path.is_file() and not hidden:
            yield path


def _read_file(path: Path, relative: str, tenant_id: str | None) -> Document:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _UnreadableError(f"not UTF-8 text (byte {error.start})") from error
    try:
        post = frontmatter.loads(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 2}" if mark else ""
        raise _UnreadableError(f"front matter is not valid YAML{where}") from error
    metadata = cast(dict[str, Any], post.metadata)
    content = post.content.strip()
    if not content:
        raise _UnreadableError("no text below the front matter")
    document_id = _text(metadata, "id") or PurePosixPath(relative).with_suffix("").as_posix()
    return Document(
        tenant_id=_tenant(metadata, tenant_id),
        document_id=document_id,
        version=_text(metadata, "version") or DEFAULT_VERSION,
        title=_text(metadata, "title") or _first_heading(content) or path.stem,
        path=relative,
        md5=hashlib.md5(raw, usedforsecurity=False).hexdigest(),
        content=content,
        effective_on=_date(metadata, "effective_date"),
        supersedes=_texts(metadata, "supersedes"),
        machine_models=_texts(metadata, "machine_models"),
        firmware=_text(metadata, "firmware"),
        owner=_text(metadata, "owner"),
        language=_text(metadata, "language") or "en",
        kind=_text(metadata, "kind") or "",
        tags=_texts(metadata, "tags"),
    )


def _tenant(metadata: dict[str, Any], tenant_id: str | None) -> str:
    named = _text(metadata, "tenant")
    if named and tenant_id and named != tenant_id:
        raise _UnreadableError(f"belongs to tenant {named!r}, and is being read for {tenant_id!r}")
    tenant = named or tenant_id
    if not tenant:
        raise _UnreadableError(
            "names no tenant: add `tenant` to its front matter, or give one for the folder"
        )
    return tenant


def _first_heading(content: str) -> str | None:
    # A comment in a shell block also starts with '#'.
    match = _HEADING.search(_FENCE.sub("", content))
    return match.group(1) if match else None


def _text(metadata: dict[str, Any], name: str) -> str | None:
    value = metadata.get(name)
    if value is None:
        return None
    if isinstance(value, list | dict):
        raise _UnreadableError(f"front matter `{name}` must be one value, not {value!r}")
    return str(value).strip() or None


def _texts(metadata: dict[str, Any], name: str) -> tuple[str, ...]:
    value = metadata.get(name)
    if value is None:
        return ()
    values = cast(list[Any], value) if isinstance(value, list) else [value]
    return tuple(str(item).strip() for item in values if item is not None and str(item).strip())


def _date(metadata: dict[str, Any], name: str) -> date | None:
    value = metadata.get(name)
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise _UnreadableError(
            f"front matter `{name}` is not a date: {value!r} (write 2026-01-31)"
        ) from error
