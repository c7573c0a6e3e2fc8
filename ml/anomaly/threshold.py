"""From raw scores of normal time to a threshold and to a score from 0 to 1. No label is ever read.

Add a rule here when a kind of training data needs one. Avoid tuning on failures: what a detector misses is
judged in `ml.anomaly.backtest`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.anomaly.detector import Values

# Residual energy of 1.75 times its usual level. Between 1.65 and 1.85 the F1 on the SKAB experiments moves
# by less than 0.005; multiples of the training maximum, which stands on one value of a short period, by 0.03.
ENERGY_GROWTH = float(np.log(1.75))
# Share of held-out normal rows above the threshold; the bar for false positives is 5 % of normal time.
NORMAL_SHARE_ABOVE = 0.005


def short_training_threshold(normal: Values) -> float:
    """Threshold of log-energy scores after a short training period.

    Args:
        normal: Scores of the training rows; NaN where they lack context.

    Returns:
        The usual level plus the logarithm of the growth that counts, and never below the highest training
        score.
    """
    found = normal[np.isfinite(normal)]
    return float(max(np.median(found) + ENERGY_GROWTH, found.max()))


def quantile_threshold(held_out: Values, share_above: float = NORMAL_SHARE_ABOVE) -> float:
    """Threshold that a stated share of held-out normal rows lies above."""
    return float(np.nanquantile(held_out, 1.0 - share_above))


@dataclass(frozen=True)
class ScoreScale:
    """Turns raw scores into 0 to 1 by the distribution of normal time.

    0.5 is the threshold. Below it the score is the raw score's place in normal time; above it the score goes
    on towards 1 by how far the raw score lies beyond the threshold, so that strange rows stay in order.

    Attributes:
        quantiles: Raw scores of normal time at even shares from 0 to 1.
        threshold: Raw threshold.
    """

    quantiles: tuple[float, ...]
    threshold: float

    @classmethod
    def of(cls, normal: Values, threshold: float) -> "ScoreScale":
        """Scale from raw scores of normal time."""
        shares = np.linspace(0.0, 1.0, 101)
        return cls(tuple(np.nanquantile(normal, shares).tolist()), threshold)

    def score(self, raw: Values) -> Values:
        """Scores from 0 to 1, rising with the raw score; NaN stays NaN."""
        edges = np.minimum(np.asarray(self.quantiles), self.threshold)
        below = 0.5 * np.interp(raw, edges, np.linspace(0.0, 1.0, len(edges)))
        unit = max(self.threshold - edges[len(edges) // 2], 1e-9 * (1.0 + abs(self.threshold)))
        beyond = (raw - self.threshold) / unit
        above = 0.5 + 0.5 * beyond / (1.0 + np.abs(beyond))
        found: Values = np.where(raw > self.threshold, above, below)
        return np.where(np.isfinite(raw), found, np.nan)

    def is_anomalous(self, raw: Values) -> NDArray[np.bool_]:
        """Whether raw scores are beyond the threshold; NaN is not."""
        return raw > self.threshold
