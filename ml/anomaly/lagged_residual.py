"""What a linear model of the last rows did not expect: the residual energy over all sensors.

Each sensor is predicted from the last rows of all sensors by ridge regression. A fault changes how sensors
follow each other, so the residuals grow even where every reading is in its usual range.
"""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from ml.anomaly.detector import Values, spread_of, trailing_median


@dataclass(frozen=True)
class LaggedResidual:
    """Ridge on lags, then the trailing median of the log of the residual energy.

    Attributes:
        lags: Rows that predict the next one.
        penalty: Ridge penalty on standardised columns.
        smoothing: Rows of the trailing median.
    """

    lags: int = 3
    penalty: float = 10.0
    smoothing: int = 45
    _centre: Values = field(default_factory=lambda: np.zeros(0), repr=False)
    _spread: Values = field(default_factory=lambda: np.ones(0), repr=False)
    _weights: Values = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    _residual_spread: Values = field(default_factory=lambda: np.ones(0), repr=False)

    @property
    def name(self) -> str:
        """Name of the method."""
        return "lagged_residual"

    @property
    def context(self) -> int:
        """Lags and smoothing."""
        return self.lags + self.smoothing - 1

    def fit(self, values: Values) -> Self:
        """See `Detector.fit`."""
        centre, spread = values.mean(axis=0), spread_of(values)
        inputs, targets = self._lagged((values - centre) / spread)
        gram = inputs.T @ inputs + self.penalty * np.eye(inputs.shape[1])
        weights = np.linalg.solve(gram, inputs.T @ targets)
        residual = targets - inputs @ weights
        return replace(
            self, _centre=centre, _spread=spread, _weights=weights, _residual_spread=spread_of(residual)
        )

    def score(self, values: Values) -> Values:
        """See `Detector.score`: log of one half plus the mean squared standardised residual, smoothed.

        The half keeps rows of unusually small residuals from pulling the logarithm down without limit.
        """
        found = np.full(len(values), np.nan)
        squares = self._squares(values)
        if len(squares):
            found[self.lags :] = trailing_median(np.log(0.5 + squares.mean(axis=1)), self.smoothing)
        return found

    def contributions(self, values: Values) -> Values:
        """Squared standardised residual of each sensor."""
        found = np.zeros(values.shape)
        found[self.lags :] = self._squares(values)
        return found

    def _squares(self, values: Values) -> Values:
        if len(values) <= self.lags:
            return np.zeros((0, values.shape[1]))
        inputs, targets = self._lagged((values - self._centre) / self._spread)
        # einsum sums each row by itself; a matrix product blocks differently for other numbers of rows,
        # and the same row would differ in its last digits.
        expected = np.einsum("ij,jk->ik", inputs, self._weights)
        return ((targets - expected) / self._residual_spread) ** 2

    def _lagged(self, scaled: Values) -> tuple[Values, Values]:
        rows = len(scaled)
        inputs = np.hstack([scaled[self.lags - lag : rows - lag] for lag in range(1, self.lags + 1)])
        return inputs, scaled[self.lags :]
