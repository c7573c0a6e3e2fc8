"""How well the model does: estimated before outcomes are known, measured when they are.

CBPE (confidence-based performance estimation) reads the expected confusion off calibrated
probabilities. It sees that inputs became harder, and can't see a changed meaning: that needs outcomes.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl


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


@dataclass(frozen=True)
class ModelPerformance:
    """One model in the window: what its own probabilities promise, and what is known by now.

    Attributes:
        model_name: Which.
        promised: By CBPE over all predictions of the window.
        happened: Over those whose outcome is mature; the rest can't be known yet.
    """

    model_name: str
    promised: Performance
    happened: Performance


def model_performance(model_name: str, scored: pl.DataFrame, window_from: datetime) -> ModelPerformance:
    """Performance of one model in the window.

    Args:
        model_name: Which.
        scored: `as_of`, `probability`, `is_alert`, `is_failure`, `is_mature`.
        window_from: Predictions after it count.
    """
    rows = scored.filter(pl.col("as_of") > window_from)
    alerts = scored.filter("is_alert")["probability"].to_numpy()
    # The version's threshold as its alerts show it; without an alert nothing reaches it.
    threshold = float(alerts.min()) if len(alerts) else float("inf")
    mature = rows.filter("is_mature")
    return ModelPerformance(
        model_name,
        estimated(rows["probability"].to_numpy(), threshold),
        realised(mature["probability"].to_numpy(), mature["is_failure"].to_numpy().astype(bool), threshold),
    )
