"""Inverted lists as flat arrays: which items hold a key, and with which weight.

Everything that counts words (documents, passages, pairs of neighbouring words) is one of these.
Avoid formulas here (`rag_assets.lexical`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint32]
Scores = NDArray[np.float64]

_ITEM_BITS = np.uint64(32)


class Postings:
    """For each key the items that hold it.

    Args:
        texts: Keys of each item in order of appearance, repeats kept.
        weights: What one occurrence counts, for each text; by default 1.
        item_of: Item that each text belongs to; by default its own position.
        item_count: Number of items; by default that of the texts.
        is_distinct: A key counts once per item, however often it occurs there.
    """

    def __init__(
        self,
        texts: Sequence[Keys],
        weights: Sequence[float] | None = None,
        item_of: Sequence[int] | None = None,
        item_count: int | None = None,
        is_distinct: bool = False,
    ) -> None:
        self.item_count = len(texts) if item_count is None else item_count
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        owners = np.arange(len(texts)) if item_of is None else np.asarray(item_of)
        pairs = np.concatenate([*texts, np.empty(0, np.uint32)]).astype(np.uint64)
        pairs <<= _ITEM_BITS
        pairs |= np.repeat(owners.astype(np.uint64), lengths)
        if weights is None:
            # Sorting alone takes a fifth of the time that sorting an order takes.
            pairs.sort()
            starts = _starts(pairs)
            counts = np.diff(starts, append=len(pairs)).astype(np.float64)
            self.values: Scores = np.ones(len(starts)) if is_distinct else counts
        else:
            order = np.argsort(pairs, kind="stable")
            pairs = pairs[order]
            starts = _starts(pairs)
            each = np.repeat(np.asarray(weights), lengths)[order]
            self.values = np.add.reduceat(each, starts) if len(pairs) else np.empty(0)
        held = pairs[starts]
        self.items: NDArray[np.int64] = (held & np.uint64(0xFFFFFFFF)).astype(np.int64)
        keys = (held >> _ITEM_BITS).astype(np.uint32)
        first = _starts(keys)
        self.keys: Keys = keys[first]
        self.bounds: NDArray[np.int64] = np.append(first, len(held)).astype(np.int64)

    @property
    def holder_counts(self) -> NDArray[np.int64]:
        """For each key how many items hold it."""
        return np.diff(self.bounds)

    def by_key(self, per_key: Scores) -> Scores:
        """One number per key, repeated for each of its holders."""
        return np.repeat(per_key, self.holder_counts)

    def rows(self, keys: Keys) -> NDArray[np.int64]:
        """Positions of keys in `keys`; those that nobody holds are left out."""
        if not len(self.keys):
            return np.empty(0, np.int64)
        found = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return found[self.keys[found] == keys]

    def totals(self, keys: Keys, values: Scores | None = None) -> Scores:
        """For each item the sum of the weights of the keys that it holds.

        Args:
            keys: Keys to add up; a repeated one counts again.
            values: Weights in place of `values`, in the same order.
        """
        weights = self.values if values is None else values
        spans = [slice(self.bounds[row], self.bounds[row + 1]) for row in self.rows(keys).tolist()]
        if not spans:
            return np.zeros(self.item_count)
        items = np.concatenate([self.items[span] for span in spans])
        found = np.concatenate([weights[span] for span in spans])
        return np.bincount(items, found, minlength=self.item_count).astype(np.float64)


def _starts(ordered: NDArray[Any]) -> NDArray[np.int64]:
    """Where a new value begins in a sorted array."""
    is_new = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return np.flatnonzero(is_new)
