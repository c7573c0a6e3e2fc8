"""What was asked before is not computed again: one bounded cache, keyed on tenant, build and content.

A new build has another id, so that nothing of the old corpus can be given out once the alias has moved;
a tenant's entries can't be hit by another one. Avoid caching by question alone.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client import Counter

from rag_assets.index.contract import MissingTenantError

Value = TypeVar("Value")

CACHE_REQUESTS = Counter(
    "retrieval_cache_requests_total", "Look-ups in the caches of retrieval.", ["cache", "result"]
)


@dataclass(frozen=True)
class CacheUse:
    """How often a cache had the answer."""

    hits: int
    misses: int

    @property
    def hit_rate(self) -> float:
        """Share of look-ups that were answered; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


class ContentCache(Generic[Value]):
    """Least recently used entries go first; threads may share it.

    Args:
        name: Label of the metric `retrieval_cache_requests_total`.
        capacity: Entries that are kept.
    """

    def __init__(self, name: str, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[tuple[str, str, Hashable], Value] = OrderedDict()
        self._guard = threading.Lock()
        self._hits = 0
        self._misses = 0
        self._hit = CACHE_REQUESTS.labels(name, "hit")
        self._miss = CACHE_REQUESTS.labels(name, "miss")

    def get_or_make(
        self, tenant_id: str, build_id: str, content: Hashable, make: Callable[[], Value]
    ) -> Value:
        """The kept value, else what `make` returns; what fails is not kept.

        Args:
            tenant_id: Whose; empty is an error.
            build_id: Index build that the value was made from, with the ranker's version.
            content: Everything else that the value depends on.
            make: Computes it. Two threads may both compute a missing value.

        Raises:
            MissingTenantError: No tenant is named.
        """
        if not tenant_id.strip():
            raise MissingTenantError("a cache look-up needs a tenant: none was given")
        key = (tenant_id, build_id, content)
        with self._guard:
            if key in self._kept:
                self._kept.move_to_end(key)
                self._hits += 1
                self._hit.inc()
                return self._kept[key]
            self._misses += 1
        self._miss.inc()
        value = make()
        with self._guard:
            self._kept[key] = value
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return value

    @property
    def use(self) -> CacheUse:
        """Look-ups so far."""
        with self._guard:
            return CacheUse(self._hits, self._misses)
