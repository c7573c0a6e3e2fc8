"""Beyond everything that normal time has shown, measured in its own range.

For one machine with a training period this is `TrainedExtreme`; for a single stream that is learned while
it runs, without any training period, it is `RunningRange`, which `ml.anomaly.stream` builds on.
"""

from bisect import insort
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from ml.anomaly.detector import Values, trailing_median


class RunningRange:
    """Largest value and median of a stream so far; tells by how much a new value goes beyond them."""

    def __init__(self) -> None:
        self._sorted: list[float] = []

    def exceedance(self, value: float) -> float:
        """How far a value lies above the maximum so far, in units of maximum minus median; then learn it.

        Returns:
            0 within the range and for the first value.
        """
        seen = self._sorted
        found = 0.0
        if seen and value > seen[-1]:
            middle = seen[len(seen) // 2]
            # A stream that stood still has no range: the floor keeps its first step finite.
            span = max(seen[-1] - middle, 1e-9 * (1.0 + abs(middle)))
            found = (value - seen[-1]) / span
        insort(seen, value)
        return found


@dataclass(frozen=True)
class TrainedExtreme:
    """Largest exceedance of any column beyond its training range, in units of that range.

    Attributes:
        smoothing: Rows of the trailing median.
    """

    smoothing: int = 3
    _low: Values = field(default_factory=lambda: np.zeros(0), repr=False)
    _middle: Values = field(default_factory=lambda: np.zeros(0), repr=False)
    _high: Values = field(default_factory=lambda: np.ones(0), repr=False)

    @property
    def name(self) -> str:
        """Name of the method."""
        return "running_extreme"

    @property
    def context(self) -> int:
        """Rows of the smoothing."""
        return self.smoothing - 1

    def fit(self, values: Values) -> Self:
        """See `Detector.fit`."""
        return replace(
            self, _low=values.min(axis=0), _middle=np.median(values, axis=0), _high=values.max(axis=0)
        )

    def score(self, values: Values) -> Values:
        """See `Detector.score`: 1 at the edge of the training range."""
        return trailing_median(self.contributions(values).max(axis=1), self.smoothing)

    def contributions(self, values: Values) -> Values:
        """Distance of each column from its median, in units of the distance to its training extreme."""
        above, below = self._high - self._middle, self._middle - self._low
        tiny = 1e-9 * (1.0 + np.abs(self._middle))
        distance = values - self._middle
        return np.where(
            distance >= 0, distance / np.maximum(above, tiny), -distance / np.maximum(below, tiny)
        )
