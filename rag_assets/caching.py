"""What was asked before is not computed again: one bounded cache, keyed on tenant and content.

Every value says what it was made from, and is never given out for anything else. A tenant's entries can't be
hit by another one. Avoid caching by question alone.
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
    """How often a cache had the answer.

    Attributes:
        confirmed: The kept value was made from something else, and making it again gave the same.
    """

    hits: int
    confirmed: int
    misses: int

    @property
    def hit_rate(self) -> float:
        """Share of look-ups that were answered, confirmed ones too; 0 before the first."""
        asked = self.hits + self.confirmed + self.misses
        return (self.hits + self.confirmed) / asked if asked else 0.0


class ContentCache(Generic[Value]):
    """Least recently used entries go first; threads may share it.

    Args:
        name: Label of the metric `retrieval_cache_requests_total`.
        capacity: Entries that are kept.
    """

    def __init__(self, name: str, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[tuple[str, Hashable], tuple[str, Value]] = OrderedDict()
        self._guard = threading.Lock()
        self._counts = dict.fromkeys(("hit", "confirmed", "miss"), 0)
        self._metrics = {result: CACHE_REQUESTS.labels(name, result) for result in self._counts}

    def get_or_make(
        self,
        tenant_id: str,
        made_from: str,
        content: Hashable,
        make: Callable[[], Value],
        is_same: Callable[[Value, Value], bool] | None = None,
    ) -> Value:
        """The kept value, else what `make` returns; what fails is not kept.

        Args:
            tenant_id: Whose; empty is an error.
            made_from: Digest of the documents, or name of the model, that a value must be made from.
            content: Everything else that the value depends on.
            make: Computes it. Two threads may both compute a missing value.
            is_same: Whether a value says the same as the earlier one that was made from something else:
                whoever has made something of that one need not make it again.

        Raises:
            MissingTenantError: No tenant is named.
        """
        if not tenant_id.strip():
            raise MissingTenantError("a cache look-up needs a tenant: none was given")
        key = (tenant_id, content)
        with self._guard:
            kept = self._kept.get(key)
            if kept is not None and kept[0] == made_from:
                self._kept.move_to_end(key)
                self._counts["hit"] += 1
                self._metrics["hit"].inc()
                return kept[1]
        value = make()
        is_confirmed = kept is not None and is_same is not None and is_same(kept[1], value)
        result = "confirmed" if is_confirmed else "miss"
        self._metrics[result].inc()
        with self._guard:
            self._counts[result] += 1
            self._kept[key] = (made_from, value)
            self._kept.move_to_end(key)
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return value

    @property
    def use(self) -> CacheUse:
        """Look-ups so far; one that failed is not among them."""
        with self._guard:
            return CacheUse(self._counts["hit"], self._counts["confirmed"], self._counts["miss"])
