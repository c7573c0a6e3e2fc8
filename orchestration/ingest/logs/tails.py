"""Tail probabilities of counts, shares and levels, as scores: -log10 of the probability.

Add a distribution here when a statistic needs another null model. Avoid thresholds and any knowledge of
logs: a score means the same whatever it was made from, so that one threshold is one false-alarm rate.
"""

# pyright: reportMissingTypeStubs=false

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

MAX_SCORE = 30.0
"""Scores end here: below 1e-30 the tail says that the null model is wrong, not how wrong."""
SHARE_MEMORY = 200.0
"""Most trials that a share's history may weigh. More would claim that the share itself never moves; on the
traces of a running shop, shares of consecutive hours differ as those of 200 trials do."""
PRIOR = 0.1
"""Both counts of the Beta prior. Code paths are nearly always taken or nearly never, so less than Jeffreys'
1/2 fits: with it, 15 traces that all went another way after 4 known ones are enough for a score of 5."""
_ROWS_AT_ONCE = 64
LARGE_SAMPLE = 400
"""Trials above which a beta-binomial tail is summed on a thinned sample: it only gets more careful."""


def as_score(probability: ArrayLike) -> Floats:
    """-log10 of a probability, within [0, `MAX_SCORE`]."""
    p = np.asarray(probability, dtype=np.float64)
    return np.clip(-np.log10(np.maximum(p, 10.0**-MAX_SCORE)), 0.0, MAX_SCORE)


def share_scores(
    hits: ArrayLike,
    trials: ArrayLike,
    past_hits: ArrayLike,
    past_trials: ArrayLike,
    memory: ArrayLike = SHARE_MEMORY,
) -> tuple[Floats, Floats]:
    """How surprising a share is, given its history: beta-binomial tails upward and downward.

    The history is a Beta posterior with a U-shaped prior, its weight capped at `memory` trials.

    Args:
        hits: (n,) successes now.
        trials: (n,) trials now; 0 gives the scores 0.
        past_hits: (n,) successes before; may be fractional (decayed).
        past_trials: (n,) trials before; 0 means that nothing is known: the score is near 0.
        memory: Scalar or (n,): weight at which the history is capped.

    Returns:
        (n,) score of "so many or more", (n,) score of "so few or fewer".
    """
    k, n = np.atleast_1d(np.asarray(hits, float)), np.atleast_1d(np.asarray(trials, float))
    past_k, past_n = np.broadcast_to(past_hits, k.shape), np.broadcast_to(past_trials, k.shape)
    shrink = np.minimum(1.0, np.asarray(memory, float) / np.maximum(past_n, 1.0))
    a, b = past_k * shrink + PRIOR, np.maximum(past_n - past_k, 0.0) * shrink + PRIOR
    thin = np.minimum(1.0, LARGE_SAMPLE / np.maximum(n, 1.0))
    n_thin = np.floor(n * thin)
    k_up, k_down = np.minimum(np.floor(k * thin), n_thin), np.minimum(np.ceil(k * thin), n_thin)
    up, down = np.zeros(k.shape), np.zeros(k.shape)
    order = np.argsort(n_thin, kind="stable")
    for rows in np.array_split(order, max(1, order.size // _ROWS_AT_ONCE)):
        up[rows], down[rows] = _tails(n_thin[rows], a[rows], b[rows], k_up[rows], k_down[rows])
    return up, down


def _tails(n: Floats, a: Floats, b: Floats, k_up: Floats, k_down: Floats) -> tuple[Floats, Floats]:
    """Both tails of several beta-binomials of about equal size, each summed to its end."""
    x = np.arange(int(n.max(initial=0.0)) + 1)[None, :]
    rest = np.maximum(n[:, None] - x, 0.0)
    log_choose = special.gammaln(n[:, None] + 1) - special.gammaln(x + 1) - special.gammaln(rest + 1)
    log_mass = log_choose + special.betaln(x + a[:, None], rest + b[:, None]) - special.betaln(a, b)[:, None]
    mass = np.where(x <= n[:, None], np.exp(log_mass), 0.0)
    upper = np.where(x >= k_up[:, None], mass, 0.0).sum(axis=1)
    lower = np.where(x <= k_down[:, None], mass, 0.0).sum(axis=1)
    return as_score(upper), as_score(lower)


def count_scores(counts: ArrayLike, expected: ArrayLike, shape: ArrayLike) -> tuple[Floats, Floats]:
    """How surprising a count is against an expected one: negative binomial tails upward and downward.

    Args:
        counts: (n,) events now.
        expected: (n,) expected events, > 0.
        shape: (n,) shape of the gamma distribution of the rate: variance = mean + mean² / shape. Small
            shapes say that the rate itself wanders.

    Returns:
        (n,) score of "so many or more", (n,) score of "so few or fewer".
    """
    k = np.atleast_1d(np.asarray(counts, float))
    mean = np.maximum(np.broadcast_to(np.asarray(expected, float), k.shape), 1e-9)
    r = np.maximum(np.broadcast_to(np.asarray(shape, float), k.shape), 1e-6)
    p = mean / (mean + r)
    up = np.where(k > 0, special.betainc(np.maximum(k, 1e-9), r, p), 1.0)
    down = special.betainc(r, k + 1.0, 1.0 - p)
    return as_score(up), as_score(down)


def level_score(z: ArrayLike, degrees: float = 4.0) -> Floats:
    """How surprising a robust z is, upward: Student's t tail, since real levels have heavy tails.

    Args:
        z: (n,) distance from the median in robust standard deviations.
        degrees: Degrees of freedom; 4 gives 1e-5 at z = 12.3 where a Gaussian would at 4.3.
    """
    return as_score(special.stdtr(degrees, -np.asarray(z, float)))


def robust_z(value: float, past: ArrayLike, floor: float) -> float:
    """Distance of a value from the median of its past in robust standard deviations.

    Args:
        value: Value now.
        past: (n,) values before; fewer than 5 give 0.
        floor: Smallest standard deviation that is believed, in the value's unit.
    """
    history = np.asarray(past, float)
    if history.size < 5:
        return 0.0
    centre = float(np.median(history))
    spread = 1.4826 * float(np.median(np.abs(history - centre)))
    return (value - centre) / max(spread, floor, 1e-12)
