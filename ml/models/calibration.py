"""From a booster's margin to a probability that can be read as one: Platt or isotonic.

A calibrator is data, not code: it is stored as JSON beside the booster.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

# Isotonic regression follows every step of its data; with a few dozen failures those steps are noise.
# 300 failures are about 15 per step at 20 steps.
ISOTONIC_NEEDS_FAILURES = 300


class Calibrator(Protocol):
    """Maps margins (log odds as the booster gives them) to probabilities, never decreasing."""

    def probability(self, margin: np.ndarray) -> np.ndarray:
        """Probabilities in [0, 1], shape of `margin`."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain content that `calibrator_from_json` reads."""
        ...


@dataclass(frozen=True)
class PlattCalibrator:
    """Logistic curve over the margin (Platt 1999)."""

    slope: float
    intercept: float

    def probability(self, margin: np.ndarray) -> np.ndarray:
        """Probabilities in [0, 1], shape of `margin`."""
        return 1.0 / (1.0 + np.exp(-(self.slope * margin.astype(np.float64) + self.intercept)))

    def to_json(self) -> dict[str, Any]:
        """Plain content that `calibrator_from_json` reads."""
        return {"kind": "platt", "slope": self.slope, "intercept": self.intercept}


@dataclass(frozen=True)
class IsotonicCalibrator:
    """Steps with linear joins: `levels[i]` at margin `margins[i]`, flat outside."""

    margins: tuple[float, ...]
    levels: tuple[float, ...]

    def probability(self, margin: np.ndarray) -> np.ndarray:
        """Probabilities in [0, 1], shape of `margin`."""
        return np.interp(margin.astype(np.float64), self.margins, self.levels)

    def to_json(self) -> dict[str, Any]:
        """Plain content that `calibrator_from_json` reads."""
        return {"kind": "isotonic", "margins": list(self.margins), "levels": list(self.levels)}


def fit_calibrator(margin: np.ndarray, is_failure: np.ndarray, failures: int) -> Calibrator:
    """Fit on margins of rows that the booster was not trained on.

    Args:
        margin: Shape (rows,).
        is_failure: Shape (rows,), bool; both values must occur.
        failures: Distinct failures behind the positive rows; decides between Platt and isotonic.
    """
    if failures >= ISOTONIC_NEEDS_FAILURES:
        fitted = IsotonicRegression(out_of_bounds="clip").fit(margin, is_failure.astype(np.float64))
        margins, levels = np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_)
        return IsotonicCalibrator(tuple(map(float, margins)), tuple(map(float, levels)))
    # A weak penalty only keeps the curve finite where the margins separate the classes.
    logistic = LogisticRegression(C=10.0).fit(margin.reshape(-1, 1).astype(np.float64), is_failure)
    # A negative slope would turn the ranking round; it happens when the margins know nothing.
    slope = max(float(logistic.coef_[0, 0]), 0.0)
    return PlattCalibrator(slope=slope, intercept=float(logistic.intercept_[0]))


def calibrator_from_json(content: Mapping[str, Any]) -> Calibrator:
    """Rebuild a calibrator.

    Raises:
        ValueError: The kind is not known.
    """
    match content["kind"]:
        case "platt":
            return PlattCalibrator(float(content["slope"]), float(content["intercept"]))
        case "isotonic":
            return IsotonicCalibrator(tuple(content["margins"]), tuple(content["levels"]))
        case kind:
            raise ValueError(f"Unknown calibrator {kind!r}; this version reads platt and isotonic")
