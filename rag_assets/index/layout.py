"""What both Qdrant engines share: the layout of a point, the filter of a scope, and reading everything.

The embedded engine and the server's client name their types alike; each passes its own here. Avoid
anything that only one of them needs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rag_assets.embedding import Vectors
from rag_assets.index.contract import IndexPoint, Passage, StoredText, TenantScope

INDEXED_FIELDS = {"tenant_id": "Keyword", "document_key": "Keyword", "ordinal": "Integer"}
"""Payload fields that a filter names, with the engine's type of each."""

TEXT_FIELDS = ["title", "text"]
"""Payload fields of a `StoredText`: half of a payload, search terms and front matter are the rest."""

PAGE = 1000

ReadPage = Callable[[Any], tuple[list[Any], Any]]
"""Records after an offset, and the next offset or None."""


def scope_filter(types: Any, scope: TenantScope) -> Any:
    """The filter that every search carries.

    Args:
        types: Module with the engine's `Filter`, `FieldCondition`, `MatchValue` and `MatchAny`.
        scope: Whose passages, and which documents to leave out.
    """
    excluded = sorted(scope.excluded_documents)
    owner = types.FieldCondition(key="tenant_id", match=types.MatchValue(value=scope.tenant_id))
    return types.Filter(
        must=[owner],
        must_not=[types.FieldCondition(key="document_key", match=types.MatchAny(any=excluded))]
        if excluded
        else None,
    )


def engine_point(make: Callable[..., Any], point: IndexPoint) -> Any:
    """A point in the engine's own type."""
    vectors = {name: vector.tolist() for name, vector in point.dense.items()}
    return make(id=point.passage.chunk_id, vector=vectors, payload=point.passage.payload())


def records(read_page: ReadPage) -> Iterator[Any]:
    """Every record, page by page."""
    offset: Any = None
    while True:
        page, offset = read_page(offset)
        yield from page
        if offset is None:
            return


def pages(chunk_ids: Sequence[str], retrieve: Callable[[list[Any]], list[Any]]) -> ReadPage:
    """Reads named records page by page; the offset is a place among the names."""

    def read_page(offset: Any) -> tuple[list[Any], Any]:
        start = offset or 0
        following = start + PAGE if start + PAGE < len(chunk_ids) else None
        return retrieve(list(chunk_ids[start : start + PAGE])), following

    return read_page


def passages(read_page: ReadPage) -> Iterator[Passage]:
    """Passages of records with their whole payload."""
    for record in records(read_page):
        yield Passage.from_payload(str(record.id), record.payload or {})


def texts(read_page: ReadPage) -> Iterator[StoredText]:
    """Texts of records that carry at least `TEXT_FIELDS`."""
    for record in records(read_page):
        found: Mapping[str, str] = record.payload or {}
        yield StoredText(str(record.id), found["title"], found["text"])


def first_passages(types: Any) -> Any:
    """The filter of every document's first passage."""
    return types.Filter(must=[types.FieldCondition(key="ordinal", match=types.MatchValue(value=0))])


def document_vectors(read_page: ReadPage) -> Iterator[tuple[str, Mapping[str, Vectors]]]:
    """Chunk id and vectors of every record."""
    for record in records(read_page):
        vectors = {name: np.asarray(vector, dtype=np.float32) for name, vector in record.vector.items()}
        yield str(record.id), vectors
