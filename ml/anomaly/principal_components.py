"""Hotelling's T² and Q of a principal component model: far along the usual directions, or off them.

Source of the method: Jackson and Mudholkar, Control procedures for residuals associated with principal
component analysis, Technometrics 21 (1979).
"""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from ml.anomaly.detector import Values, spread_of, trailing_median


@dataclass(frozen=True)
class PrincipalComponents:
    """T² within the kept components plus Q outside them, each against its training mean.

    Attributes:
        kept_variance: Share of the variance that the kept components explain.
        smoothing: Rows of the trailing median.
    """

    kept_variance: float = 0.9
    smoothing: int = 3
    _centre: Values = field(default_factory=lambda: np.zeros(0), repr=False)
    _spread: Values = field(default_factory=lambda: np.ones(0), repr=False)
    _inverse: Values = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    _outside: Values = field(default_factory=lambda: np.zeros((0, 0)), repr=False)

    @property
    def name(self) -> str:
        """Name of the method."""
        return "principal_components"

    @property
    def context(self) -> int:
        """Rows of the smoothing."""
        return self.smoothing - 1

    def fit(self, values: Values) -> Self:
        """See `Detector.fit`."""
        centre, spread = values.mean(axis=0), spread_of(values)
        scaled = (values - centre) / spread
        variance, directions = np.linalg.eigh(np.cov(scaled.T).reshape(values.shape[1], -1))
        order = np.argsort(variance)[::-1]
        variance, directions = np.maximum(variance[order], 1e-9), directions[:, order]
        explained = np.cumsum(variance) / variance.sum()
        kept = min(int(np.searchsorted(explained, self.kept_variance)) + 1, len(variance))
        inside = directions[:, :kept]
        rest = max(variance[kept:].sum(), 1e-3)
        return replace(
            self,
            _centre=centre,
            _spread=spread,
            _inverse=(inside / np.sqrt(variance[:kept])) @ inside.T / np.sqrt(kept),
            _outside=(np.eye(len(variance)) - inside @ inside.T) / np.sqrt(rest),
        )

    def score(self, values: Values) -> Values:
        """See `Detector.score`: log of one plus T² and Q in units of their training means."""
        return trailing_median(np.log1p(self.contributions(values).sum(axis=1)), self.smoothing)

    def contributions(self, values: Values) -> Values:
        """Squared part of each column in T² and Q."""
        scaled = (values - self._centre) / self._spread
        within = np.einsum("ij,jk->ik", scaled, self._inverse)
        off = np.einsum("ij,jk->ik", scaled, self._outside)
        return within**2 + off**2
