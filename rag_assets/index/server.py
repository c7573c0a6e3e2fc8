"""A Qdrant server as engine, one collection per build, behind the same contract as the embedded one.

Only what is particular to the server belongs here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from qdrant_client import QdrantClient, models

from rag_assets.embedding import Vectors
from rag_assets.index.contract import (
    DENSE_NAMES,
    DOCUMENT_VECTORS,
    BuildUnavailableError,
    IndexPoint,
    Passage,
    StoredText,
    TenantScope,
    VectorHit,
    VectorQuery,
)
from rag_assets.index.layout import (
    INDEXED_FIELDS,
    PAGE,
    TEXT_FIELDS,
    ReadPage,
    document_vectors,
    engine_point,
    first_passages,
    pages,
    passages,
    records,
    scope_filter,
    texts,
)

_POINTS_PER_UPDATE = 256
_UNFINISHED_SUFFIX = "-partial"


class ServerStore:
    """Builds as collections of one server.

    A collection can't be renamed, so a finished build is one that has an alias of its own name.

    Args:
        client: Connected client; `QdrantClient(url=…)`, or `QdrantClient(":memory:")` in tests.
    """

    def __init__(self, client: QdrantClient) -> None:
        self._client = client

    def location(self, build_id: str) -> str:
        """Name of the alias that marks the finished collection."""
        return build_id

    def create(self, build_id: str, dimension: int, base: str | None = None) -> "ServerWriter":
        """Start a collection; a server can't copy one, so the points of a base are read and written."""
        self.drop(build_id)
        collection = build_id + _UNFINISHED_SUFFIX
        self._client.create_collection(
            collection,
            vectors_config={
                name: models.VectorParams(size=dimension, distance=models.Distance.COSINE)
                for name in DENSE_NAMES
            },
        )
        for name, kind in INDEXED_FIELDS.items():
            self._client.create_payload_index(collection, name, models.PayloadSchemaType[kind.upper()])
        writer = ServerWriter(self._client, collection, build_id)
        if base is not None:
            writer.copy(base)
        return writer

    def open(self, build_id: str) -> "ServerBuild":
        """Open a finished collection."""
        if not self.exists(build_id):
            raise BuildUnavailableError(f"index build {build_id} is not on the server: run `opsgraph index`")
        return ServerBuild(self._client, build_id)

    def exists(self, build_id: str) -> bool:
        """Whether the finished collection is there."""
        return any(alias.alias_name == build_id for alias in self._client.get_aliases().aliases)

    def drop(self, build_id: str) -> None:
        """Remove the collection; its alias goes with it."""
        self._client.delete_collection(build_id + _UNFINISHED_SUFFIX)


class ServerWriter:
    """Writes one collection; its alias appears when the writer closes."""

    def __init__(self, client: QdrantClient, collection: str, build_id: str) -> None:
        self._client = client
        self._collection = collection
        self._build_id = build_id

    def add(self, points: Iterable[IndexPoint]) -> None:
        """Store points and wait until they are searchable."""
        self._store(engine_point(models.PointStruct, point) for point in points)

    def copy(self, base: str) -> None:
        """Store all points of another collection."""

        def read_page(offset: Any) -> tuple[list[Any], Any]:
            return self._client.scroll(base, limit=PAGE, offset=offset, with_payload=True, with_vectors=True)

        self._store(
            models.PointStruct(id=item.id, vector=item.vector, payload=item.payload)
            for item in records(read_page)
        )

    def remove(self, chunk_ids: Sequence[str]) -> None:
        """Take points out."""
        if chunk_ids:
            chosen = models.PointIdsList(points=list(chunk_ids))
            self._client.delete(self._collection, chosen, wait=True)

    def _store(self, points: Iterable[models.PointStruct]) -> None:
        iterator = iter(points)
        while batch := list(islice(iterator, _POINTS_PER_UPDATE)):
            self._client.upsert(self._collection, batch, wait=True)

    def close(self) -> None:
        """Mark the collection as finished."""
        create = models.CreateAlias(collection_name=self._collection, alias_name=self._build_id)
        self._client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])


class ServerBuild:
    """A finished collection."""

    def __init__(self, client: QdrantClient, collection: str) -> None:
        self._client = client
        self._collection = collection

    def count(self) -> int:
        """Points in the collection."""
        return self._client.count(self._collection, exact=True).count

    def passages(self, chunk_ids: Sequence[str] | None = None) -> Iterator[Passage]:
        """Stored passages."""
        if chunk_ids is None:
            return passages(self._scrolled(with_payload=True))
        return passages(pages(chunk_ids, lambda page: self._client.retrieve(self._collection, page)))

    def texts(self) -> Iterator[StoredText]:
        """Stored texts."""
        return texts(self._scrolled(with_payload=TEXT_FIELDS))

    def document_vectors(
        self, chunk_ids: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Mapping[str, Vectors]]]:
        """Vectors of documents' first passages."""
        wanted: dict[str, Any] = {"with_payload": False, "with_vectors": list(DOCUMENT_VECTORS)}
        if chunk_ids is None:
            return document_vectors(self._scrolled(scroll_filter=first_passages(models), **wanted))
        return document_vectors(
            pages(chunk_ids, lambda page: self._client.retrieve(self._collection, page, **wanted))
        )

    def _scrolled(self, **wanted: Any) -> ReadPage:
        return lambda offset: self._client.scroll(self._collection, limit=PAGE, offset=offset, **wanted)

    def search(self, scope: TenantScope, queries: Sequence[VectorQuery]) -> list[list[VectorHit]]:
        """All queries in one request, filtered by the scope."""
        requests = [
            models.QueryRequest(
                query=query.dense.tolist(),
                using=query.using,
                filter=scope_filter(models, scope),
                limit=query.limit,
                params=models.SearchParams(exact=True),
                with_payload=False,
            )
            for query in queries
        ]
        responses = self._client.query_batch_points(self._collection, requests)
        return [[VectorHit(str(hit.id), hit.score) for hit in response.points] for response in responses]

    def close(self) -> None:
        """Nothing to let go: the server serves any number of readers."""
