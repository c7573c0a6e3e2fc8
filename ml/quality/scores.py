"""Scores of a classifier over several classes, with the majority class beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ClassScores:
    """Scores on judged rows.

    Attributes:
        rows: How many.
        accuracy: Share of right classes.
        macro_f1: Mean of the classes' F1, each class weighing the same.
        majority_accuracy: Of always saying the most frequent class of the training rows.
        f1: F1 of each class, in the order of the classes; NaN for a class without rows.
        confusion: Rows by true class and predicted class.
    """

    rows: int
    accuracy: float
    macro_f1: float
    majority_accuracy: float
    f1: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]

    def metrics(self) -> dict[str, float]:
        """As metrics of a run."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "majority_accuracy": self.majority_accuracy,
            "rows_judged": float(self.rows),
        }


def class_scores(truth: Labels, predicted: Labels, classes: Sequence[str], majority: int) -> ClassScores:
    """Score predictions.

    Args:
        truth: True class of each row, as index.
        predicted: Predicted class.
        classes: Names.
        majority: The most frequent class of the training rows.
    """
    count = len(classes)
    confusion = np.bincount(truth * count + predicted, minlength=count * count).reshape(count, count)
    hits = confusion.diagonal().astype(np.float64)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = np.divide(2 * hits, total, out=np.full(count, np.nan), where=total > 0)
    return ClassScores(
        rows=len(truth),
        accuracy=float(hits.sum() / len(truth)),
        macro_f1=float(np.nanmean(f1)),
        majority_accuracy=float((truth == majority).mean()),
        f1=tuple(f1.tolist()),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )
