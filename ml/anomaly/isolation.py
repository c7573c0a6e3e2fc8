"""Isolation forest: rows that few random cuts set apart from the normal ones.

Source of the method: Liu, Ting and Zhou, Isolation Forest, ICDM 2008; scikit-learn's implementation.
"""

# scikit-learn leaves most of its signatures untyped.
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from ml.anomaly.detector import Values, spread_of, trailing_median


@dataclass(frozen=True)
class Isolation:
    """Isolation forest on the columns of a row.

    Attributes:
        trees: Trees of the forest.
        smoothing: Rows of the trailing median.
        seed: Of the random cuts.
    """

    trees: int = 20
    smoothing: int = 3
    seed: int = 0
    _forest: Any = field(default=None, repr=False)
    _centre: Values = field(default_factory=lambda: np.zeros(0), repr=False)
    _spread: Values = field(default_factory=lambda: np.ones(0), repr=False)

    @property
    def name(self) -> str:
        """Name of the method."""
        return "isolation_forest"

    @property
    def context(self) -> int:
        """Rows of the smoothing."""
        return self.smoothing - 1

    def fit(self, values: Values) -> Self:
        """See `Detector.fit`."""
        from sklearn.ensemble import IsolationForest

        forest = IsolationForest(n_estimators=self.trees, random_state=self.seed, n_jobs=1).fit(values)
        return replace(self, _forest=forest, _centre=np.median(values, axis=0), _spread=spread_of(values))

    def score(self, values: Values) -> Values:
        """See `Detector.score`."""
        return trailing_median(-self._forest.score_samples(values), self.smoothing)

    def contributions(self, values: Values) -> Values:
        """Squared distance of each column from its median; the forest itself gives no shares."""
        return ((values - self._centre) / self._spread) ** 2
