"""Effect sizes between a window and its reference: how far, not how certain.

PSI over reference deciles, Wasserstein-1 in reference deviations, Jensen-Shannon distance in bits. A
p-value of independent samples would follow the sample's size and alarm on every autocorrelated series.
"""

from dataclasses import dataclass

import numpy as np

BINS = 10
_LEVELS = (np.arange(48) + 0.5) / 48


@dataclass(frozen=True)
class Effects:
    """Effect sizes of one feature; arrays where several windows are measured at once.

    Attributes:
        location: Mean of the window minus that of the reference, in reference deviations.
        wasserstein: Wasserstein-1 distance, in reference deviations.
        psi: Population stability index.
        jensen_shannon: Jensen-Shannon distance, 0 to 1.
    """

    location: np.ndarray
    wasserstein: np.ndarray
    psi: np.ndarray
    jensen_shannon: np.ndarray

    def shapes(self) -> np.ndarray:
        """Wasserstein, PSI and Jensen-Shannon stacked, shape (3, windows)."""
        return np.stack([self.wasserstein, self.psi, self.jensen_shannon])


def effects(reference: np.ndarray, windows: np.ndarray) -> Effects:
    """Measure windows against one reference.

    Args:
        reference: Shape (n,), without NaN.
        windows: Shape (windows, m), without NaN.

    >>> found = effects(np.arange(100.0), np.arange(100.0)[None] + 29.0)
    >>> round(float(found.location[0]), 2), round(float(found.wasserstein[0]), 2)
    (1.0, 1.0)
    """
    spread = max(float(reference.std()), 1e-12)
    edges = np.quantile(reference, np.arange(1, BINS) / BINS)
    usual = _shares(reference[None], edges)[0]
    found = _shares(windows, edges)
    # Half a reading in an empty bin: PSI of an unseen bin is large, not infinite.
    floor = 0.5 / windows.shape[1]
    p, q = np.maximum(found, floor), np.maximum(usual, floor)
    middle = (p + q) / 2
    divergence = 0.5 * (p * np.log2(p / middle) + q * np.log2(q / middle)).sum(axis=1)
    quantiles = np.quantile(windows, _LEVELS, axis=1)
    distance = np.abs(quantiles - np.quantile(reference, _LEVELS)[:, None]).mean(axis=0)
    return Effects(
        location=(windows.mean(axis=1) - reference.mean()) / spread,
        wasserstein=distance / spread,
        psi=((p - q) * np.log(p / q)).sum(axis=1),
        jensen_shannon=np.sqrt(np.maximum(divergence, 0.0)),
    )


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of each row's values in each bin, shape (rows, bins)."""
    index = np.searchsorted(edges, values, side="right")
    rows = np.arange(len(values))[:, None] * (len(edges) + 1)
    counts = np.bincount((index + rows).ravel(), minlength=len(values) * (len(edges) + 1))
    return counts.reshape(len(values), -1) / values.shape[1]
