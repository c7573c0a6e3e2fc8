"""Inverted lists as flat arrays: which items hold a key, and how often or with which weight.

Everything that counts words (documents, passages, pairs of neighbouring words) is one of these, and a small
change is counted into the lists that were there before. Avoid formulas here (`rag_assets.lexical`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint32]
Scores = NDArray[np.float64]
Places = NDArray[np.int64]
Numbers = NDArray[np.int32]
Index = TypeVar("Index")
Part = TypeVar("Part")

_ITEM_BITS = np.uint64(32)
_PAIR, _HALF = np.dtype("<u8"), np.dtype("<u4")
"""A key in the upper half and an item in the lower one; the lower half stands first in memory."""


@dataclass(frozen=True)
class Kept:
    """Which items of an earlier count are still there, and which have to be counted.

    Attributes:
        places: For each earlier item its place now, ascending among those that stay; -1 where it is gone.
        fresh: Places of the items that are new or different, ascending.
        item_count: Items now.
    """

    places: Places
    fresh: Places
    item_count: int

    def spread(self, earlier: NDArray[Any], fresh: NDArray[Any]) -> NDArray[Any]:
        """One value (or row) per item now, from those of earlier items and those of the fresh ones."""
        found = np.empty((self.item_count, *earlier.shape[1:]), dtype=earlier.dtype)
        stays = self.places >= 0
        found[self.places[stays]] = earlier[stays]
        found[self.fresh] = fresh
        return found

    def split(self, parts: int) -> "Kept":
        """The same for items of which each has that many parts, numbered one after another."""
        step = np.arange(parts)
        places = np.where(self.places[:, None] >= 0, self.places[:, None] * parts + step, -1)
        fresh = self.fresh[:, None] * parts + step
        return Kept(places.reshape(-1), fresh.reshape(-1), self.item_count * parts)


@dataclass(frozen=True)
class Carried(Generic[Index]):
    """An earlier index, and what of it still holds."""

    earlier: Index
    kept: Kept

    def with_part(self, part: Part) -> "Carried[Part]":
        """The same items, of a part of the index."""
        return Carried(part, self.kept)


@dataclass(frozen=True)
class Postings:
    """For each key the items that hold it.

    Attributes:
        keys: Ascending.
        bounds: One more than keys: where the holders of each begin and end in `items`.
        items: Holders, ascending within a key.
        values: What each holder counts: how often it holds the key, or a weight.
        item_count: Number of items.
    """

    keys: Keys
    bounds: Places
    items: Numbers
    values: NDArray[Any]
    item_count: int

    @property
    def holder_counts(self) -> Places:
        """For each key how many items hold it."""
        return np.diff(self.bounds)

    def by_key(self, per_key: Scores) -> Scores:
        """One number per key, repeated for each of its holders."""
        return np.repeat(per_key, self.holder_counts)

    def rows(self, keys: Keys) -> Places:
        """Positions of keys in `keys`; those that nobody holds are left out."""
        if not len(self.keys):
            return np.empty(0, np.int64)
        found = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return found[self.keys[found] == keys]

    def totals(self, keys: Keys, *weights: Scores) -> tuple[Scores, ...]:
        """For each item the sum of the weights of the keys that it holds, once for each kind of weights.

        Args:
            keys: Keys to add up; a repeated one counts again.
            weights: Each has one per holder, in the order of `items`.
        """
        spans = [slice(self.bounds[row], self.bounds[row + 1]) for row in self.rows(keys).tolist()]
        if not spans:
            return tuple(np.zeros(self.item_count) for _ in weights)
        items = np.concatenate([self.items[span] for span in spans])
        return tuple(
            np.bincount(
                items, np.concatenate([kind[span] for span in spans]), minlength=self.item_count
            ).astype(np.float64, copy=False)
            for kind in weights
        )

    def merged(self, parts: int, weights: Scores) -> "Postings":
        """Postings of whole items from those of their parts.

        Args:
            parts: How many parts an item has.
            weights: What one occurrence counts, for each part.
        """
        whole = self.items // np.int32(parts)
        is_new = np.ones(len(whole), dtype=bool)
        np.not_equal(whole[1:], whole[:-1], out=is_new[1:])
        is_new[self.bounds[:-1]] = True
        starts = np.flatnonzero(is_new)
        each = weights[self.items]
        each *= self.values
        return Postings(
            self.keys,
            np.searchsorted(starts, self.bounds),
            whole[starts],
            np.add.reduceat(each, starts) if len(starts) else each,
            self.item_count // parts,
        )


def count_keys(
    texts: Sequence[Keys], carried: Carried[Postings] | None = None, is_distinct: bool = False
) -> Postings:
    """Count which keys each item holds, and how often.

    Args:
        texts: Keys of each item in order of appearance, repeats kept; of the fresh items where something is
            carried over.
        carried: An earlier count in which most items were counted already.
        is_distinct: A key counts once per item, however often it occurs there.
    """
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    owners = np.arange(len(texts)) if carried is None else carried.kept.fresh
    pairs = np.concatenate([*texts, np.empty(0, np.uint32)]).astype(_PAIR)
    pairs <<= _ITEM_BITS
    pairs |= np.repeat(owners.astype(_PAIR), lengths)
    pairs.sort()
    starts = _starts(pairs)
    values = np.ones(len(starts), np.int32) if is_distinct else _counts(starts, len(pairs))
    pairs = pairs[starts]
    if carried is None:
        return _postings(pairs, values, len(texts))
    earlier = carried.earlier
    # Few and small arrays: most of the time goes into pages that the system has to give and to clear.
    moved = carried.kept.places.astype(np.int32)[earlier.items]
    stays = moved >= 0
    held = np.repeat(earlier.keys.astype(_PAIR) << _ITEM_BITS, earlier.holder_counts)
    held |= moved.view(np.uint32)
    held = held[stays]
    at = np.searchsorted(held, pairs)
    counts = np.insert(earlier.values[stays], at, values)
    return _postings(np.insert(held, at, pairs), counts, carried.kept.item_count)


def _postings(pairs: NDArray[np.uint64], values: Numbers, item_count: int) -> Postings:
    """From distinct pairs of key and item in ascending order."""
    halves = pairs.view(_HALF)
    keys = halves[1::2]
    first = _starts(keys)
    bounds = np.append(first, len(pairs)).astype(np.int64)
    return Postings(keys[first], bounds, halves[0::2].astype(np.int32), values, item_count)


def _counts(starts: Places, end: int) -> Numbers:
    return np.diff(starts, append=end).astype(np.int32)


def _starts(ordered: NDArray[Any]) -> Places:
    """Where a new value begins in a sorted array."""
    is_new = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return np.flatnonzero(is_new)
