"""Ranking and calibration of probabilities: average precision, Brier skill, expected calibration error."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class CalibrationBin:
    """Rows whose probability falls in one bin."""

    rows: int
    mean_probability: float
    observed_rate: float


def average_precision(score: np.ndarray, is_failure: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Area under the precision-recall curve by steps; equal scores are one step.

    Args:
        score: Shape (rows,).
        is_failure: Shape (rows,), bool.
        weight: Shape (rows,), how often each row counts; once by default.

    >>> average_precision(np.array([0.9, 0.8, 0.1]), np.array([True, False, True]))
    0.8333333333333333
    """
    return ranking(score, is_failure)(np.ones(len(score)) if weight is None else weight)


def ranking(score: np.ndarray, is_failure: np.ndarray) -> Callable[[np.ndarray], float]:
    """Average precision as a function of row weights; sorts once, so that a bootstrap does not 200 times."""
    order = np.argsort(-score, kind="stable")
    hits = is_failure[order].astype(np.float64)
    last_of_score = np.append(np.diff(score[order]) != 0, [True])

    def weighted(weight: np.ndarray) -> float:
        counted = weight[order]
        true_positives = np.cumsum(hits * counted)[last_of_score]
        alerts = np.cumsum(counted)[last_of_score]
        if true_positives[-1] == 0:
            return float("nan")
        precision = np.divide(true_positives, alerts, out=np.zeros_like(alerts), where=alerts > 0)
        return float(np.sum(np.diff(true_positives, prepend=0.0) * precision) / true_positives[-1])

    return weighted


def brier_skill(probability: np.ndarray, is_failure: np.ndarray, weight: np.ndarray | None = None) -> float:
    """1 minus the Brier score over that of always saying the base rate of these very rows.

    The reference knows the rows' own base rate, which no forecast could: a value above 0 is earned.
    """
    outcome = is_failure.astype(np.float64)
    base = np.average(outcome, weights=weight)
    reference = float(base * (1.0 - base))
    error = float(np.average((probability - outcome) ** 2, weights=weight))
    return 1.0 - error / reference if reference else float("nan")


def f1(is_flagged: np.ndarray, is_failure: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Harmonic mean of precision and recall over rows; 0 where nothing is hit.

    >>> f1(np.array([True, True, False]), np.array([True, False, True]))
    0.5
    """
    counted = np.ones(len(is_flagged)) if weight is None else weight
    hit = float(counted[is_flagged & is_failure].sum())
    size = float(counted[is_flagged].sum() + counted[is_failure].sum())
    return 2 * hit / size if size else 0.0


def calibration_bins(probability: np.ndarray, is_failure: np.ndarray) -> list[CalibrationBin]:
    """Bins of equal width that hold rows, from low to high."""
    found = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    bins: list[CalibrationBin] = []
    for number in np.unique(found):
        inside = found == number
        rate, mean = float(is_failure[inside].mean()), float(probability[inside].mean())
        bins.append(CalibrationBin(int(inside.sum()), mean, rate))
    return bins


def expected_calibration_error(probability: np.ndarray, is_failure: np.ndarray) -> float:
    """Mean distance of said and observed rate over the bins, weighted by rows; NaN without rows."""
    if not len(probability):
        return float("nan")
    bins = calibration_bins(probability, is_failure)
    distance = sum(found.rows * abs(found.mean_probability - found.observed_rate) for found in bins)
    return distance / len(probability)
