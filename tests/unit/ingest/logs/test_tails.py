"""Tail probabilities against values worked out by hand or by another formula."""

import math

import numpy as np
import pytest
from scipy import stats

from orchestration.ingest.logs import tails


def test_share_score_is_the_beta_binomial_tail() -> None:
    """Forbids a tail of another distribution: 0 of 12 after 40 of 40, against scipy's own."""
    _, down = tails.share_scores([0], [12], [40], [40])

    exact = stats.betabinom(12, 40 + tails.PRIOR, tails.PRIOR).pmf(0)
    assert down[0] == pytest.approx(-math.log10(exact), abs=1e-6)


def test_history_weighs_no_more_than_its_memory() -> None:
    """Forbids a share that a long history makes so certain that an ordinary shift alarms."""
    up_short, _ = tails.share_scores([30], [100], [40], [200])
    up_long, _ = tails.share_scores([30], [100], [40_000], [200_000])

    assert up_long[0] == pytest.approx(up_short[0], abs=1e-9)


def test_nothing_known_is_no_news() -> None:
    """Forbids alarms before anything was learned."""
    up, down = tails.share_scores([10, 0], [10, 10], [0, 0], [0, 0])

    assert max(up.max(), down.max()) < 1.0


def test_many_tests_at_once_equal_one_by_one() -> None:
    """Forbids a vectorised tail that depends on its neighbours' sizes."""
    rng = np.random.default_rng(1)
    n = rng.integers(1, 60, 300)
    k = np.array([rng.integers(0, m + 1) for m in n])
    past = rng.integers(1, 300, 300)
    past_k = np.array([rng.integers(0, m + 1) for m in past])

    together = tails.share_scores(k, n, past_k, past)

    alone = np.array([
        [part[0] for part in tails.share_scores([a], [b], [c], [d])]
        for a, b, c, d in zip(k, n, past_k, past, strict=True)
    ])  # fmt: skip
    assert np.allclose(np.array(together).T, alone, atol=1e-6)


def test_count_score_is_the_negative_binomial_tail() -> None:
    """Forbids mixing up shape and mean: P(X >= 9) at mean 2, shape 4, against scipy."""
    up, down = tails.count_scores([9], [2.0], [4.0])

    law = stats.nbinom(4.0, 4.0 / 6.0)  # scipy's p is shape / (shape + mean)
    assert up[0] == pytest.approx(-math.log10(law.sf(8)), abs=1e-6)
    assert down[0] == pytest.approx(-math.log10(law.cdf(9)), abs=1e-6)


def test_quiet_counts_reach_the_threshold_as_often_as_it_says() -> None:
    """Forbids a score whose threshold is not its false-alarm rate: 1 in 100 at score 2."""
    rng = np.random.default_rng(2)
    counts = rng.negative_binomial(5.0, 5.0 / (5.0 + 20.0), 40_000)

    up, _ = tails.count_scores(counts, 20.0, 5.0)

    assert 0.007 < float((up >= 2.0).mean()) <= 0.0115
