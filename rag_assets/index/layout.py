"""What both Qdrant engines share: the layout of a point, the filter of a scope, and reading everything.

The embedded engine and the server's client name their types alike; each passes its own here. Avoid
anything that only one of them needs.
"""

from collections.abc import Callable, Iterator
from typing import Any

from rag_assets.index.contract import IndexPoint, Passage, TenantScope

INDEXED_FIELDS = ("tenant_id", "document_key")
"""Payload fields that a filter names."""

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


def passages(read_page: ReadPage) -> Iterator[Passage]:
    """Every stored passage."""
    for record in records(read_page):
        yield Passage.from_payload(str(record.id), record.payload or {})
