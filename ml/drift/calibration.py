"""Thresholds for effect sizes from the reference itself, at a stated rate of false alarms.

Reference and window are both resampled in blocks (moving block bootstrap, Künsch 1989) from innovations
of a first-order autoregression and recoloured: blocks alone cut the dependence at their edges, which
makes alarms too frequent (prewhitening, Davison and Hall 1993). Avoid deciding here: `univariate` does.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ml.drift.autoregression import autoregression, coloured
from ml.drift.effects import effects

BLOCK_STEPS = 72
RESAMPLES = 200
SHAPE_RESAMPLES = 60
_WARM_UP = 120
# Alarms of a check a day, against the stated rate: the deviation is itself estimated, from some thirty
# blocks, so its tail is heavier than the normal's. Measured on simulated series.
_TAIL = 0.8
_SEED = 20150101


@dataclass(frozen=True)
class Thresholds:
    """From which size on an effect is an alarm.

    Attributes:
        location: Threshold of |location|.
        shapes: Thresholds of Wasserstein, PSI and Jensen-Shannon.
        location_null: Deviation of `location` under no change.
        alarms_per_month: Stated rate of false alarms of one feature that is checked once a day.
    """

    location: float
    shapes: tuple[float, float, float]
    location_null: float
    alarms_per_month: float

    def p_value(self, location: float) -> float:
        """Chance of a location at least as far under no change."""
        return 2.0 * (1.0 - NormalDist().cdf(abs(location) / max(self.location_null, 1e-12)))


def calibrate(
    reference: np.ndarray, window_steps: int, alarms_per_month: float = 0.05, seed: int = _SEED
) -> Thresholds:
    """Find the thresholds of one feature.

    Args:
        reference: Shape (n,), in the order of time, without NaN; profile removed.
        window_steps: Readings of a window.
        alarms_per_month: What is acceptable for one feature with one check a day.
        seed: Of the resampling.
    """
    centred = reference - reference.mean()
    spread = max(float(reference.std()), 1e-12)
    coefficient = autoregression(centred)
    innovations = centred[1:] - coefficient * centred[:-1]
    innovations = innovations - innovations.mean()
    rng = np.random.default_rng(seed)
    total = len(reference) + window_steps + _WARM_UP
    block = min(BLOCK_STEPS, len(innovations) // 2)
    starts = rng.integers(0, len(innovations) - block + 1, (RESAMPLES, -(-total // block)))
    drawn = innovations[(starts[:, :, None] + np.arange(block)).reshape(RESAMPLES, -1)[:, :total]]
    series = coloured(drawn, coefficient)[:, _WARM_UP:]
    references, windows = series[:, : len(reference)], series[:, len(reference) :]
    moved: np.ndarray = windows.mean(axis=1) - references.mean(axis=1)
    null = float(np.sqrt((moved**2).mean())) / spread
    tail = NormalDist().inv_cdf(1.0 - _TAIL * alarms_per_month / 30.0 / 2.0)
    return Thresholds(
        location=tail * null,
        shapes=_shape_thresholds(references, windows, tail),
        location_null=null,
        alarms_per_month=alarms_per_month,
    )


def _shape_thresholds(references: np.ndarray, windows: np.ndarray, tail: float) -> tuple[float, float, float]:
    """Thresholds from a log-normal fitted to the resampled effects, a little further out.

    The location test has the larger share of the stated rate; these see what does not move the mean.
    """
    found = np.concatenate(
        [effects(references[row], windows[row : row + 1]).shapes() for row in range(SHAPE_RESAMPLES)], axis=1
    )
    logs = np.log(np.maximum(found, 1e-9))
    limits = np.exp(logs.mean(axis=1) + (tail + 0.3) * logs.std(axis=1))
    return float(limits[0]), float(limits[1]), float(limits[2])
