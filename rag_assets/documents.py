"""Documents as the knowledge base sees them, and how files become documents.

Add a source (where files come from) to `rag_assets.sources`, a format to `rag_assets.formats`. Avoid
chunking, cleaning for search, and storage here.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Any, cast

from rag_assets.formats.content import READERS, SIDECAR_SUFFIX, UnreadableError, read_content

CORPUS_DIR = Path(__file__).with_name("corpus")
"""The project's own runbooks and manuals."""

DEFAULT_VERSION = "1"
_LONGEST_KEY_BYTES = 2000  # the corpus's primary key is a B-tree entry, which ends at 2,704 bytes
_SUFFIXES = tuple(READERS)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Document:
    """One version of one document of one tenant.

    Attributes:
        tenant_id: Owner; nobody else may ever see it.
        document_id: Stable across versions; the path without suffix where no id is given.
        version: Text; `effective_on` decides which version is newer, its numbers where a date is missing.
        title: Title of the front matter, else the first heading, else the file's name.
        path: Relative to the folder that was read, with forward slashes.
        md5: Of the file's bytes and its sidecar's.
        content: Markdown without front matter, whatever format the file has.
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


@dataclass(frozen=True)
class SourceFile:
    """One file of a source, not yet read as a document.

    Attributes:
        path: Relative to the source, with forward slashes.
        raw: Its bytes.
        sidecar: Bytes of the metadata file beside it, if there is one.
    """

    path: str
    raw: bytes
    sidecar: bytes | None = None

    @property
    def md5(self) -> str:
        """Of the bytes and the sidecar: the first gate of "did it change?"."""
        digest = hashlib.md5(self.raw, usedforsecurity=False)
        digest.update(self.sidecar or b"")
        return digest.hexdigest()


def read_files(
    files: Iterable[SourceFile | BrokenDocument],
    tenant_id: str | None = None,
    known: Mapping[str, Sequence[Document]] | None = None,
) -> Collection:
    """Read files as documents. A broken one is listed with its reason and does not stop the others.

    Args:
        files: What a source has, in the order of their paths; what it could not give stays broken.
        tenant_id: Owner of files that name no tenant. A file that names another tenant is broken:
            it would otherwise become visible to the wrong one. None: each file must name its own.
        known: Documents that the corpus holds of the same source, by path: a file with the same MD5 is
            not read again.

    Returns:
        Documents in the order of the files, and the broken files.
    """
    documents: dict[tuple[str, str], Document] = {}
    broken: list[BrokenDocument] = []
    for file in files:
        if isinstance(file, BrokenDocument):
            broken.append(file)
            continue
        same = [item for item in (known or {}).get(file.path, ()) if item.md5 == file.md5]
        try:
            document = same[0] if same else read_file(file, tenant_id)
        except UnreadableError as error:
            broken.append(BrokenDocument(file.path, str(error)))
            continue
        first = documents.setdefault((document.tenant_id, document.key), document)
        if first is not document:
            reason = f"id and version {document.key} are taken by {first.path}"
            broken.append(BrokenDocument(file.path, reason))
    return Collection(tuple(documents.values()), tuple(broken))


def read_folder(root: Path, tenant_id: str | None = None) -> Collection:
    """Read every document below a folder; see `read_files`.

    Args:
        root: Folder; searched recursively, hidden files and folders left out.
        tenant_id: Owner of files that name no tenant.

    Raises:
        NotADirectoryError: `root` is not a folder.
    """
    return read_files(folder_files(root), tenant_id)


def folder_files(root: Path) -> Iterator[SourceFile | BrokenDocument]:
    """Files of a folder whose format can be read, by path; one that may not be read is told as broken.

    Raises:
        NotADirectoryError: `root` is not a folder.
    """
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder: give a folder that holds documents")
    yield from _files_below(str(root), "")


def _files_below(folder: str, prefix: str) -> Iterator[SourceFile | BrokenDocument]:
    """Files of one folder and of those below it, by name.

    A folder that may not be looked into and a link to another folder are passed over.
    """
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry for entry in entries if not entry.name.startswith(".")}
    except PermissionError:
        return
    for name, entry in sorted(found.items()):
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path, f"{prefix}{name}/")
        elif name.lower().endswith(_SUFFIXES):
            # A name that is not UTF-8 could be neither stored nor printed.
            path = os.fsencode(prefix + name).decode("utf-8", "replace")
            try:
                read = _read_bytes(path, entry, found.get(name + SIDECAR_SUFFIX))
            except OSError as error:
                read = BrokenDocument(path, f"the file can't be read: {error.strerror or error}")
            if read:
                yield read


def _read_bytes(
    path: str, entry: "os.DirEntry[str]", sidecar: "os.DirEntry[str] | None"
) -> SourceFile | None:
    if not entry.is_file():
        return None
    described = Path(sidecar).read_bytes() if sidecar and sidecar.is_file() else None
    return SourceFile(path, Path(entry).read_bytes(), described)


def read_file(file: SourceFile, tenant_id: str | None) -> Document:
    """One file as a document.

    Raises:
        UnreadableError: It can't be read, or its metadata are wrong.
    """
    found = read_content(file.path, file.raw, file.sidecar)
    metadata, content = dict(found.metadata), found.markdown.strip()
    name = PurePosixPath(file.path)
    document = Document(
        tenant_id=_tenant(metadata, tenant_id),
        document_id=_text(metadata, "id") or name.with_suffix("").as_posix(),
        version=_text(metadata, "version") or DEFAULT_VERSION,
        title=_text(metadata, "title") or _first_heading(content) or name.stem,
        path=file.path,
        md5=file.md5,
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
    _check_storable(document)
    return document


def _check_storable(document: Document) -> None:
    """Refuses text that Postgres refuses: there it would stop every other document of the transaction."""
    for entry in fields(document):
        value = getattr(document, entry.name)
        text = "".join(cast(tuple[str, ...], value)) if isinstance(value, tuple) else str(value)
        if refused := _UNSTORABLE.search(text):
            what = "a NUL character" if refused[0] == "\x00" else "half a character (a lone surrogate)"
            raise UnreadableError(f"its {entry.name} holds {what}, which is not text")
    key = "".join((document.tenant_id, document.document_id, document.version))
    if len(key.encode()) > _LONGEST_KEY_BYTES:
        raise UnreadableError(
            f"its tenant, id and version are longer than {_LONGEST_KEY_BYTES} bytes together"
        )


def _tenant(metadata: dict[str, Any], tenant_id: str | None) -> str:
    named = _text(metadata, "tenant")
    if named and tenant_id and named != tenant_id:
        raise UnreadableError(f"belongs to tenant {named!r}, and is being read for {tenant_id!r}")
    tenant = named or tenant_id
    if not tenant:
        raise UnreadableError("names no tenant: add `tenant` to its front matter, or give one for the folder")
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
        raise UnreadableError(f"front matter `{name}` must be one value, not {value!r}")
    return str(value).strip() or None


def _texts(metadata: dict[str, Any], name: str) -> tuple[str, ...]:
    value = metadata.get(name)
    if value is None:
        return ()
    # A `<meta>` field has no lists, and in YAML the brackets are easily forgotten.
    values = cast(list[Any], value) if isinstance(value, list) else str(value).split(",")
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
        raise UnreadableError(f"front matter `{name}` is not a date: {value!r} (write 2026-01-31)") from error
