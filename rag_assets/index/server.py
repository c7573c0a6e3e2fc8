"""A Qdrant server as engine, one collection per build, behind the same contract as the embedded one.

Only what is particular to the server belongs here.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from qdrant_client import QdrantClient, models

from rag_assets.index.contract import (
    DENSE_NAMES,
    SPARSE_NAME,
    BuildUnavailableError,
    IndexPoint,
    Passage,
    TenantScope,
    VectorHit,
    VectorQuery,
)

_POINTS_PER_UPDATE = 256
_SCROLL_PAGE = 500
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

    def create(self, build_id: str, dimension: int) -> "ServerWriter":
        """Start a collection."""
        self.drop(build_id)
        collection = build_id + _UNFINISHED_SUFFIX
        self._client.create_collection(
            collection,
            vectors_config={
                name: models.VectorParams(size=dimension, distance=models.Distance.COSINE)
                for name in DENSE_NAMES
            },
            sparse_vectors_config={SPARSE_NAME: models.SparseVectorParams()},
        )
        for name in ("tenant_id", "document_key"):
            self._client.create_payload_index(collection, name, models.PayloadSchemaType.KEYWORD)
        return ServerWriter(self._client, collection, build_id)

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
        iterator = iter(points)
        while batch := [_server_point(point) for point in islice(iterator, _POINTS_PER_UPDATE)]:
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

    def passages(self) -> Iterator[Passage]:
        """Every stored passage."""
        offset: Any = None
        while True:
            records, offset = self._client.scroll(
                self._collection, limit=_SCROLL_PAGE, offset=offset, with_payload=True
            )
            for record in records:
                yield Passage.from_payload(str(record.id), record.payload or {})
            if offset is None:
                return

    def search(self, scope: TenantScope, queries: Sequence[VectorQuery]) -> list[list[VectorHit]]:
        """All queries in one request, filtered by the scope."""
        restriction = _filter(scope)
        requests = [
            models.QueryRequest(
                query=_server_vector(query),
                using=query.using,
                filter=restriction,
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


def _filter(scope: TenantScope) -> models.Filter:
    excluded = sorted(scope.excluded_documents)
    return models.Filter(
        must=[models.FieldCondition(key="tenant_id", match=models.MatchValue(value=scope.tenant_id))],
        must_not=[models.FieldCondition(key="document_key", match=models.MatchAny(any=excluded))]
        if excluded
        else None,
    )


def _server_vector(query: VectorQuery) -> list[float] | models.SparseVector:
    if query.dense is not None:
        return query.dense.tolist()
    return models.SparseVector(indices=list(query.sparse), values=list(query.sparse.values()))


def _server_point(point: IndexPoint) -> models.PointStruct:
    vectors: dict[str, Any] = {name: vector.tolist() for name, vector in point.dense.items()}
    vectors[SPARSE_NAME] = models.SparseVector(indices=list(point.sparse), values=list(point.sparse.values()))
    return models.PointStruct(id=point.passage.chunk_id, vector=vectors, payload=point.passage.payload())
