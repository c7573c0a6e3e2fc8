"""First-order autoregressive series: colouring of innovations, and the coefficient of a series.

Calibration resamples through it, scenarios draw from it. Avoid other processes here.
"""

# scipy.signal has no stubs; what comes out of it is made a plain array here.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

import numpy as np
from scipy.signal import lfilter

LARGEST_COEFFICIENT = 0.97


def coloured(innovations: np.ndarray, coefficient: float) -> np.ndarray:
    """x[t] = coefficient · x[t−1] + innovation[t] along the last axis, from x = 0 before the first.

    >>> coloured(np.array([1.0, 0.0, 0.0]), 0.5).tolist()
    [1.0, 0.5, 0.25]
    """
    found = lfilter([1.0], [1.0, -coefficient], innovations, axis=-1)
    return np.asarray(found, dtype=np.float64)


def autoregression(centred: np.ndarray) -> float:
    """Coefficient of a centred series, its bias of −(1 + 3φ)/n taken off (Kendall 1954), in [0, 0.97]."""
    energy = float(centred[:-1] @ centred[:-1])
    if energy <= 0:
        return 0.0
    found = float(centred[1:] @ centred[:-1]) / energy
    return float(np.clip(found + (1.0 + 3.0 * found) / len(centred), 0.0, LARGEST_COEFFICIENT))
