"""Drift of all features together: what a PCA of the reference can no longer rebuild.

Sees broken relations between features that each stay in their own range. Avoid single features here.
"""

from dataclasses import dataclass

import numpy as np

from ml.drift.calibration import calibrate

KEPT_VARIANCE = 0.8


@dataclass(frozen=True)
class Reconstruction:
    """Error of rebuilding the window from the reference's components.

    Attributes:
        size: Window's mean error minus the reference's, in the reference's deviations of the error.
        threshold: From which it is an alarm, at the stated rate of false alarms.
        components: How many were kept.
    """

    size: float
    threshold: float
    components: int

    @property
    def is_drifted(self) -> bool:
        """Whether the relation between the features has changed."""
        return self.size > self.threshold


def reconstruction_drift(
    reference: np.ndarray, window: np.ndarray, alarms_per_month: float = 0.05
) -> Reconstruction:
    """Fit on the first half of the reference, measure the error on its second half and on the window.

    Args:
        reference: Shape (n, features), profile removed; rows with NaN are skipped.
        window: Shape (m, features).
        alarms_per_month: Stated rate of false alarms.
    """
    usual, found = _complete(reference), _complete(window)
    if len(usual) < 21 * 24 or len(found) < 24 or usual.shape[1] < 2:
        return Reconstruction(0.0, np.inf, 0)
    half = len(usual) // 2
    mean, spread = usual[:half].mean(axis=0), np.maximum(usual[:half].std(axis=0), 1e-9)
    _, singular, axes = np.linalg.svd(np.clip((usual[:half] - mean) / spread, -6, 6), full_matrices=False)
    share = np.cumsum(singular**2) / np.sum(singular**2)
    kept = min(int(np.searchsorted(share, KEPT_VARIANCE)) + 1, usual.shape[1] - 1)

    def error(rows: np.ndarray) -> np.ndarray:
        z = np.clip((rows - mean) / spread, -6, 6)
        return np.log1p(((z - (z @ axes[:kept].T) @ axes[:kept]) ** 2).sum(axis=1))

    before, now = error(usual[half:]), error(found)
    limits = calibrate(before, len(now), alarms_per_month)
    size = float((now.mean() - before.mean()) / max(float(before.std()), 1e-9))
    return Reconstruction(size, limits.location, kept)


def _complete(rows: np.ndarray) -> np.ndarray:
    return rows[~np.isnan(rows).any(axis=1)]
