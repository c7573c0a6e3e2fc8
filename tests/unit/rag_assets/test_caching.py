import random
from itertools import accumulate

import pytest

from rag_assets.caching import ContentCache


def zipf_day(questions: int, asked: int, seed: int = 7) -> list[int]:
    """Questions of a day: the k-th most frequent one is asked in proportion to 1 / k."""
    weights = list(accumulate(1 / rank for rank in range(1, questions + 1)))
    return random.Random(seed).choices(range(questions), cum_weights=weights, k=asked)


def test_a_replayed_day_is_mostly_answered_from_the_cache_and_hardly_ever_stale() -> None:
    """Forbids a cache that forgets too soon, or that outlives the corpus.

    5,000 questions of 600 kinds while the corpus changes eight times; the reader learns of each change
    5 questions late.
    """
    cache: ContentCache[str] = ContentCache("test", capacity=10_000)
    stale = 0
    for number, question in enumerate(zipf_day(600, 5_000)):
        build, seen = number // 600, max(0, number - 5) // 600
        answer = cache.get_or_make("plant", f"build-{seen}", question, lambda seen=seen: f"build-{seen}")
        stale += answer != f"build-{build}"

    assert cache.use.hit_rate > 0.5
    assert stale / 5_000 < 0.01


def test_a_quiet_day_is_answered_from_the_cache() -> None:
    """Forbids losing the bar of 70 % where the corpus changes once a day."""
    cache: ContentCache[str] = ContentCache("test")
    for number, question in enumerate(zipf_day(600, 5_000)):
        cache.get_or_make("plant", f"build-{number // 2_500}", question, str)

    assert cache.use.hit_rate > 0.7


def test_tenants_and_builds_never_share_an_entry() -> None:
    """Forbids an answer of another tenant or of an earlier corpus."""
    cache: ContentCache[str] = ContentCache("test")
    for tenant, build in (("north", "1"), ("south", "1"), ("north", "2")):
        assert cache.get_or_make(tenant, build, "q", lambda t=tenant, b=build: t + b) == tenant + build


def test_a_failure_is_not_kept_and_the_oldest_entry_goes_first() -> None:
    """Forbids serving an error again, and growing without end."""
    cache: ContentCache[int] = ContentCache("test", capacity=2)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_make("plant", "1", "q", lambda: 1 // 0)
    assert cache.get_or_make("plant", "1", "q", lambda: 5) == 5
    for name in ("a", "q", "b"):
        cache.get_or_make("plant", "1", name, lambda: 5)
    before = cache.use.misses
    cache.get_or_make("plant", "1", "a", lambda: 6)
    assert cache.use.misses == before + 1
