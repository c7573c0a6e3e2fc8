"""Drift of one batch while it is predicted: z of the batch mean, and the expectation suite.

Cheap by construction (two passes over the batch): it tells that a batch is far outside what the model
was trained on. What it means is the verdict's business, over days of readings. Avoid state and clocks
here: a batch is judged by itself.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.drift.expectations import ExpectationSuite

# The mission's threshold, in standard deviations of the baseline.
DRIFT_Z = 5.0
# A score that JSON can carry: a feature that was constant in training has no deviation.
LARGEST_SCORE = 1e6


@dataclass(frozen=True)
class Baseline:
    """Mean and standard deviation of each feature over the training rows, shape (features,) each."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of_rows(cls, values: np.ndarray) -> "Baseline":
        """Measure the baseline of training rows, shape (rows, features), NaN where missing."""
        counted = np.maximum((~np.isnan(values)).sum(axis=0), 1)
        mean = np.nansum(values, axis=0, dtype=np.float64) / counted
        spread = np.nansum((values - mean) ** 2, axis=0, dtype=np.float64) / counted
        return cls(mean, np.sqrt(spread))

    @classmethod
    def of_array(cls, stored: np.ndarray) -> "Baseline":
        """Read a stored array: shape (2, features) is mean and deviation, (rows > 2, features) are rows.

        Raises:
            ValueError: Another shape.
        """
        if stored.ndim != 2 or stored.shape[0] < 2:
            raise ValueError(
                f"A baseline of shape {stored.shape} can't be read: it needs (2, features) with mean and "
                "deviation, or at least 3 training rows."
            )
        if stored.shape[0] > 2:
            return cls.of_rows(stored)
        return cls(stored[0].astype(np.float64), stored[1].astype(np.float64))

    @classmethod
    def load(cls, path: Path) -> "Baseline":
        """Read `baseline.npy`; no pickled object is accepted."""
        return cls.of_array(np.load(path, allow_pickle=False))

    def to_array(self) -> np.ndarray:
        """What `baseline.npy` holds: shape (2, features), float64."""
        return np.stack([self.mean, self.deviation])


@dataclass(frozen=True)
class InlineDrift:
    """What was found in one batch.

    Attributes:
        detected: The score is above 5, or an expectation is violated.
        score: Largest |z| of a feature's batch mean, in [0, 1e6].
        violations: Violated expectations in words.
    """

    detected: bool
    score: float
    violations: tuple[str, ...]


def inline_drift(
    inputs: np.ndarray, baseline: Baseline | None, expectations: ExpectationSuite | None
) -> InlineDrift:
    """Judge one batch against what the model was trained on.

    z is in deviations of single rows, not of the mean's standard error: rows of one machine follow each
    other, and a score that grows with the batch would alarm on every large one.

    Args:
        inputs: Shape (rows, features), NaN where missing.
        baseline: Of the training rows; None leaves the score at 0.
        expectations: Compiled for the same columns; None leaves no violations.

    Raises:
        ValueError: The batch has another number of features than the baseline.
    """
    score = 0.0 if baseline is None else drift_score(inputs, baseline)
    violations = expectations.violations(inputs) if expectations is not None and len(inputs) else ()
    return InlineDrift(score > DRIFT_Z or bool(violations), score, violations)


def drift_score(inputs: np.ndarray, baseline: Baseline) -> float:
    """Largest |z| of a feature's batch mean; features without a value in the batch say nothing."""
    if inputs.ndim != 2 or inputs.shape[1] != len(baseline.mean):
        raise ValueError(
            f"The batch has shape {inputs.shape}, the baseline {len(baseline.mean)} features: "
            "baseline and model are not of the same training run."
        )
    present = ~np.isnan(inputs)
    counted = present.sum(axis=0)
    is_read = (counted > 0) & ~np.isnan(baseline.mean)
    if not is_read.any():
        return 0.0
    sums = np.where(present, inputs, 0.0).sum(axis=0, dtype=np.float64)[is_read]
    distance = np.abs(sums / counted[is_read] - baseline.mean[is_read])
    # Single-precision inputs of a constant feature differ from its mean by rounding alone.
    rounding = 1e-6 * np.maximum(np.abs(baseline.mean[is_read]), 1e-6)
    scores = np.where(distance <= rounding, 0.0, distance / np.maximum(baseline.deviation[is_read], rounding))
    return float(min(scores.max(), LARGEST_SCORE))
