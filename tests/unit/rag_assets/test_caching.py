import pytest

from rag_assets.caching import ContentCache


def test_tenants_and_corpora_never_share_an_entry() -> None:
    """Forbids an answer of another tenant or of an earlier corpus."""
    cache: ContentCache[str] = ContentCache("test")
    for tenant, corpus in (("north", "1"), ("south", "1"), ("north", "2")):
        assert cache.get_or_make(tenant, corpus, "q", lambda t=tenant, b=corpus: t + b) == tenant + corpus


def test_a_value_of_an_earlier_corpus_is_made_again_and_compared() -> None:
    """Forbids trusting what was made from something else, and counting a changed value as a hit."""
    cache: ContentCache[str] = ContentCache("test")
    for corpus, value in (("1", "a"), ("2", "a"), ("2", "unused"), ("3", "b")):
        given = cache.get_or_make("plant", corpus, "q", lambda value=value: value, str.__eq__)
        assert given == (value if value != "unused" else "a")

    assert (cache.use.hits, cache.use.confirmed, cache.use.misses) == (1, 1, 2)
    assert cache.use.hit_rate == 0.5


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
