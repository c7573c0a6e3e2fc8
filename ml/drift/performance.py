"""How well the model does: estimated before outcomes are known, measured when they are.

CBPE (confidence-based performance estimation) reads the expected confusion off calibrated
probabilities. It sees that inputs became harder, and can't see a changed meaning: that needs outcomes.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Performance:
    """Precision, recall and calibration of alerts; estimated or realised.

    Attributes:
        rows: Rows judged.
        precision: Of alerts; NaN without alerts.
        recall: Of failures; NaN without failures.
        failures: Number expected or seen.
        brier: Mean squared error of the probabilities.
    """

    rows: int
    precision: float
    recall: float
    failures: float
    brier: float


def estimated(probability: np.ndarray, threshold: float) -> Performance:
    """What calibrated probabilities promise.

    Args:
        probability: Shape (rows,), calibrated.
        threshold: Probability from which a row is an alert.

    >>> promise = estimated(np.array([0.9, 0.9, 0.1]), threshold=0.5)
    >>> round(promise.precision, 2), round(promise.recall, 2)
    (0.9, 0.95)
    """
    alerts = probability >= threshold
    hits, failures = float(probability[alerts].sum()), float(probability.sum())
    return Performance(
        rows=len(probability),
        precision=hits / alerts.sum() if alerts.any() else float("nan"),
        recall=hits / failures if failures > 0 else float("nan"),
        failures=failures,
        brier=float((probability * (1.0 - probability)).mean()) if len(probability) else float("nan"),
    )


def realised(probability: np.ndarray, is_failure: np.ndarray, threshold: float) -> Performance:
    """What happened, for rows with mature outcomes.

    Args:
        probability: Shape (rows,).
        is_failure: Shape (rows,), bool.
        threshold: Probability from which a row is an alert.
    """
    alerts = probability >= threshold
    hits, failures = int((alerts & is_failure).sum()), int(is_failure.sum())
    return Performance(
        rows=len(probability),
        precision=hits / alerts.sum() if alerts.any() else float("nan"),
        recall=hits / failures if failures else float("nan"),
        failures=float(failures),
        brier=float(((probability - is_failure) ** 2).mean()) if len(probability) else float("nan"),
    )
