"""Measures of a ranking of documents against the right ones; graded where a collection says so.

Avoid searching here.
"""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

DEPTH = 10


def ndcg(ranking: Sequence[str], relevant: AbstractSet[str] | Mapping[str, int]) -> float:
    """Normalized discounted cumulative gain of the first ten (linear gains, as in trec_eval).

    >>> ndcg(["b", "a"], frozenset({"a"}))  # 1 / log2(3)
    0.6309297535714575
    """
    grades = relevant if isinstance(relevant, Mapping) else dict.fromkeys(relevant, 1)
    gain = sum(grades.get(item, 0) / math.log2(rank + 2) for rank, item in enumerate(ranking[:DEPTH]))
    best = sorted(grades.values(), reverse=True)[:DEPTH]
    ideal = sum(grade / math.log2(rank + 2) for rank, grade in enumerate(best))
    return gain / ideal if ideal else 0.0


def reciprocal_rank(ranking: Sequence[str], relevant: AbstractSet[str]) -> float:
    """1 / rank of the first relevant document among the first ten, else 0."""
    return next((1 / rank for rank, item in enumerate(ranking[:DEPTH], start=1) if item in relevant), 0.0)


def hit(ranking: Sequence[str], relevant: AbstractSet[str], depth: int) -> bool:
    """Whether one of the first `depth` documents is relevant."""
    return any(item in relevant for item in ranking[:depth])


def recall(ranking: Sequence[str], relevant: AbstractSet[str], depth: int) -> float:
    """Share of the relevant documents among the first `depth`."""
    return sum(item in relevant for item in set(ranking[:depth])) / len(relevant) if relevant else 0.0
