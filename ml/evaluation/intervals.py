"""Intervals beside every share and score: Wilson for counts, bootstrap by machine for the rest.

Hours of one machine resemble each other, so rows are never resampled one by one: machines are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np

RESAMPLES = 200
_Z95 = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; NaN bounds where there is nothing to resample."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson(successes: int, trials: int) -> Estimate:
    """Share with the Wilson score interval (Wilson 1927).

    >>> str(wilson(12, 12))
    '1.000 [0.758, 1.000]'
    """
    if not trials:
        nan = float("nan")
        return Estimate(nan, nan, nan)
    share, spread = successes / trials, _Z95 * _Z95 / trials
    centre = (share + spread / 2) / (1 + spread)
    half = _Z95 * sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    return Estimate(share, max(centre - half, 0.0), min(centre + half, 1.0))


def by_machine(
    statistic: Callable[[np.ndarray], float], machine: np.ndarray, seed: int = 7, resamples: int = RESAMPLES
) -> Estimate:
    """Bootstrap a weighted statistic over machines.

    Args:
        statistic: Takes row weights, shape (rows,), and returns the value.
        machine: Index of the machine per row, 0 to n - 1.
        seed: Of the resampling.
        resamples: How many.
    """
    value = statistic(np.ones(len(machine)))
    count = int(machine.max()) + 1 if len(machine) else 0
    if count < 2:
        return Estimate(value, float("nan"), float("nan"))
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1.0 / count), size=resamples)
    values = np.asarray([statistic(draw[machine].astype(np.float64)) for draw in draws])
    values = values[np.isfinite(values)]
    if not len(values):
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
