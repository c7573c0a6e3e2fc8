"""What a process holds of an open build: every document with its passages, and the vectors of documents.

Read from the store when a build is opened; of the build after it only what changed is read. Avoid counting
words here (`rag_assets.library`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rag_assets.embedding import Vectors
from rag_assets.index.contract import OpenBuild, Passage
from rag_assets.library import IndexedDocument, documents_of

Tenants = Mapping[str, Mapping[str, IndexedDocument]]


@dataclass(frozen=True)
class Change:
    """In which documents two builds differ.

    Attributes:
        documents: Tenant and key (`id@version`) of each document that is different, or in one of them only.
        chunk_ids: Passages of these documents in the later build.
    """

    documents: frozenset[tuple[str, str]]
    chunk_ids: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """Everything of a build that is in memory.

    Attributes:
        tenants: Documents by tenant and key.
        vectors: Of titles and leads, by chunk id of each document's first passage.
    """

    tenants: Tenants
    vectors: Mapping[str, Mapping[str, Vectors]]

    @property
    def passage_count(self) -> int:
        """Passages of all tenants."""
        return sum(len(item.passages) for owned in self.tenants.values() for item in owned.values())


def read_contents(build: OpenBuild, passages: Iterable[Passage] | None = None) -> Contents:
    """Everything, from the store.

    Args:
        build: The open build.
        passages: Its passages, where they were read before.
    """
    documents = documents_of(build.passages() if passages is None else passages)
    return Contents(_by_tenant(documents), dict(build.document_vectors()))


def follow_contents(build: OpenBuild, earlier: Contents, change: Change) -> Contents:
    """What a build holds, from what an earlier one held: only what changed is read from the store.

    A store that does not have as many passages as this amounts to is read whole.

    Args:
        build: The later build, open.
        earlier: Contents of another build.
        change: In which documents the two differ.
    """
    kept = {
        (tenant_id, key): document
        for tenant_id, owned in earlier.tenants.items()
        for key, document in owned.items()
        if (tenant_id, key) not in change.documents
    }
    read = documents_of(build.passages(change.chunk_ids))
    vectors = {head: earlier.vectors[head] for head in _heads(kept.values()) if head in earlier.vectors}
    vectors.update(build.document_vectors(_heads(read.values())))
    contents = Contents(_by_tenant({**kept, **read}), vectors)
    return contents if contents.passage_count == build.count() else read_contents(build)


def _heads(documents: Iterable[IndexedDocument]) -> list[str]:
    return [document.head.chunk_id for document in documents]


def _by_tenant(documents: Mapping[tuple[str, str], IndexedDocument]) -> Tenants:
    tenants: dict[str, dict[str, IndexedDocument]] = {}
    for (tenant_id, key), document in documents.items():
        tenants.setdefault(tenant_id, {})[key] = document
    return tenants
