"""The contract between retrieval and a vector engine, and the one guarded way to ask for a tenant.

A build is written once, verified, and then only read. Add an engine as a module beside this one
whose classes satisfy `VectorStore`, `BuildWriter` and `OpenBuild`. Avoid engine types here.
"""

from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple, Protocol

import numpy as np

from rag_assets.embedding import Vectors
from rag_assets.postings import Keys

DOCUMENT_VECTORS = ("title", "lead")
"""Vectors of a document: they are on its first passage only."""

DENSE_NAMES = ("passage", *DOCUMENT_VECTORS)
"""Vectors of a point.

Words are not in the engine: their weights depend on all documents of the tenant, so every small change
would make those of all other points stale (`rag_assets.lexical` counts them when a build is opened).
"""


class MissingTenantError(ValueError):
    """A query named no tenant. It is refused: 'no tenant' must never mean 'all tenants'."""


class TenantLeakError(RuntimeError):
    """An engine returned a passage of another tenant; the query is stopped."""


class BuildUnavailableError(RuntimeError):
    """A build cannot be opened: its folder or collection is gone, or another process holds it."""


@dataclass(frozen=True)
class TenantScope:
    """The only key to a search: engines take a scope, and a scope cannot be empty.

    Attributes:
        tenant_id: Whose passages may be seen.
        excluded_documents: Keys (`id@version`) to leave out, for example superseded ones.
    """

    tenant_id: str
    excluded_documents: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.tenant_id or not self.tenant_id.strip():
            raise MissingTenantError("a search needs a tenant: none was given, and none means no access")


@dataclass(frozen=True)
class Passage:
    """One chunk with what a citation and the freshness rule need; the payload of a point.

    Attributes:
        overlap_characters: Leading characters that repeat the end of the previous chunk.
        words: Keys of search terms, made when the build was: `text` of the passage, `overlap` of its
            repeated start, and on a document's first passage those of its fields.
    """

    chunk_id: str
    content_hash: str
    tenant_id: str
    document_id: str
    version: str
    title: str
    path: str
    section: str
    text: str
    ordinal: int
    overlap_characters: int
    kind: str = ""
    effective_on: date | None = None
    supersedes: tuple[str, ...] = ()
    machine_models: tuple[str, ...] = ()
    firmware: str | None = None
    tags: tuple[str, ...] = ()
    words: Mapping[str, Keys] = field(default_factory=dict[str, Keys], compare=False, repr=False)

    @property
    def document_key(self) -> str:
        """`id@version`, unique within a tenant."""
        return f"{self.document_id}@{self.version}"

    def payload(self) -> dict[str, Any]:
        """JSON form for an engine."""
        values = {name: value for name, value in vars(self).items() if name != "chunk_id"}
        values["effective_on"] = self.effective_on.isoformat() if self.effective_on else None
        for name in ("supersedes", "machine_models", "tags"):
            values[name] = list(values[name])
        values["words"] = {name: b64encode(keys.tobytes()).decode() for name, keys in self.words.items()}
        return {**values, "document_key": self.document_key}

    @classmethod
    def from_payload(cls, chunk_id: str, payload: Mapping[str, Any]) -> "Passage":
        """The passage that `payload` was made of."""
        values = {name: payload[name] for name in _PAYLOAD_FIELDS}
        effective_on = values["effective_on"]
        values["effective_on"] = date.fromisoformat(effective_on) if effective_on else None
        for name in ("supersedes", "machine_models", "tags"):
            values[name] = tuple(values[name])
        # The binary module itself: the checks of `base64` take longer than the decoding.
        values["words"] = {
            name: np.frombuffer(a2b_base64(text), dtype=np.uint32) for name, text in values["words"].items()
        }
        return cls(chunk_id=chunk_id, **values)


_PAYLOAD_FIELDS = tuple(name for name in Passage.__dataclass_fields__ if name != "chunk_id")


class StoredText(NamedTuple):
    """What of a passage its content hash is made of."""

    chunk_id: str
    title: str
    text: str


@dataclass(frozen=True)
class IndexPoint:
    """A passage with its vectors.

    Attributes:
        dense: By name of `DENSE_NAMES`; unit length.
    """

    passage: Passage
    dense: Mapping[str, Vectors]


@dataclass(frozen=True)
class VectorQuery:
    """One ranking to ask an engine for."""

    using: str
    limit: int
    dense: Vectors


class VectorHit(NamedTuple):
    """A point of a ranking with its cosine."""

    chunk_id: str
    score: float


class BuildWriter(Protocol):
    """A build that is being written; invisible to readers."""

    def add(self, points: Iterable[IndexPoint]) -> None:
        """Store points; an id that is already there is overwritten."""
        ...

    def remove(self, chunk_ids: Sequence[str]) -> None:
        """Take points out; an id that is not there is passed over."""
        ...

    def close(self) -> None:
        """Make everything durable and let the build go."""
        ...


class OpenBuild(Protocol):
    """A finished build, open for reading; threads may share it."""

    def count(self) -> int:
        """Points in the build, of all tenants."""
        ...

    def passages(self, chunk_ids: Sequence[str] | None = None) -> Iterator[Passage]:
        """Passages as they are stored, of all tenants, in no fixed order.

        Args:
            chunk_ids: Which; one that is not there is left out. By default every passage.
        """
        ...

    def texts(self) -> Iterator[StoredText]:
        """What is compared with the corpus, of every passage of all tenants, in no fixed order."""
        ...

    def document_vectors(
        self, chunk_ids: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Mapping[str, Vectors]]]:
        """Chunk id and vectors of documents' first passages, of all tenants, in no fixed order.

        Args:
            chunk_ids: Of which first passages; by default of every document's.
        """
        ...

    def search(self, scope: TenantScope, queries: Sequence[VectorQuery]) -> list[list[VectorHit]]:
        """Exact nearest points of one tenant for each query, best first."""
        ...

    def close(self) -> None:
        """Let the build go; a later search fails."""
        ...


class VectorStore(Protocol):
    """Where builds live."""

    def location(self, build_id: str) -> str:
        """Folder or collection of a build, as recorded with it."""
        ...

    def create(self, build_id: str, dimension: int, base: str | None = None) -> BuildWriter:
        """Start a build; what an interrupted one of this id left is removed first.

        Args:
            build_id: The new build.
            dimension: Length of its vectors.
            base: A finished build whose points it starts with.
        """
        ...

    def open(self, build_id: str) -> OpenBuild:
        """Open a finished build.

        Raises:
            BuildUnavailableError: It is gone, or held by another process for longer than the store waits.
        """
        ...

    def exists(self, build_id: str) -> bool:
        """Whether the build's data are there."""
        ...

    def drop(self, build_id: str) -> None:
        """Remove a build; nothing happens if it is gone."""
        ...
