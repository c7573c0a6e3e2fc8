"""A sensor's mean over the last day against its usual level: small shifts that last."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from ml.anomaly.detector import Values, trailing_mean


@dataclass(frozen=True)
class LevelShift:
    """Largest trailing mean of robust z-scores, times the root of the rows in it.

    Attributes:
        rows: Rows of the mean; with hourly rows, 24 is a day.
    """

    rows: int = 24
    _centre: Values = field(default_factory=lambda: np.zeros(0), repr=False)
    _spread: Values = field(default_factory=lambda: np.ones(0), repr=False)

    @property
    def name(self) -> str:
        """Name of the method."""
        return "level_shift"

    @property
    def context(self) -> int:
        """Rows of the mean."""
        return self.rows - 1

    def fit(self, values: Values) -> Self:
        """See `Detector.fit`: median and interquartile range by column."""
        low, centre, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
        spread = (high - low) / 1.349  # the interquartile range of a normal distribution is 1.349 deviations
        return replace(self, _centre=centre, _spread=np.where(spread > 0, spread, 1.0))

    def score(self, values: Values) -> Values:
        """See `Detector.score`."""
        return self.contributions(values).max(axis=1)

    def contributions(self, values: Values) -> Values:
        """Absolute z of each column's mean."""
        scaled = (values - self._centre) / self._spread
        return np.abs(trailing_mean(scaled, self.rows)) * np.sqrt(self.rows)
