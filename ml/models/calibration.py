"""From a booster's margin to a probability that can be read as one: Platt or isotonic.

A calibrator is data, not code: it is stored as JSON beside the booster.
"""

# scikit-learn has no stubs; what comes out of it is made plain before it is used.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

# Isotonic regression follows every step of its data; with a few dozen failures those steps are noise.
# 300 failures are about 15 per step at 20 steps.
ISOTONIC_NEEDS_FAILURES = 300
_NEWTON_STEPS = 100


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
        from sklearn.isotonic import IsotonicRegression

        fitted = IsotonicRegression(out_of_bounds="clip").fit(margin, is_failure.astype(np.float64))
        margins, levels = np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_)
        return IsotonicCalibrator(tuple(map(float, margins)), tuple(map(float, levels)))
    return _fit_platt(margin.astype(np.float64), is_failure.astype(np.float64))


def _fit_platt(margin: np.ndarray, outcome: np.ndarray) -> PlattCalibrator:
    """Maximum likelihood by Newton's method: two parameters need no solver from a library.

    scikit-learn's took a quarter of the training time here, most of it in checks of its input.
    """
    centre, scale = float(margin.mean()), max(float(margin.std()), 1e-9)
    inputs = np.column_stack([(margin - centre) / scale, np.ones_like(margin)])
    base = float(np.clip(outcome.mean(), 1e-9, 1 - 1e-9))
    found = np.array([0.0, np.log(base / (1 - base))])
    # A weak penalty on the slope only keeps the curve finite where the margins separate the classes.
    penalty = np.array([0.1, 0.0])

    def loss(at: np.ndarray) -> float:
        score = inputs @ at
        return float(np.sum(np.logaddexp(0.0, score) - outcome * score) + 0.5 * np.sum(penalty * at * at))

    current = loss(found)
    for _ in range(_NEWTON_STEPS):
        said = 1.0 / (1.0 + np.exp(-np.clip(inputs @ found, -35, 35)))
        gradient = inputs.T @ (said - outcome) + penalty * found
        curvature = (inputs * (said * (1 - said))[:, None]).T @ inputs + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        # A full step from far away overshoots and never comes back; halve it until the loss falls.
        length = 1.0
        while length > 1e-6 and loss(found - length * step) > current:
            length /= 2
        found = found - length * step
        before, current = current, loss(found)
        if before - current < 1e-9 * max(abs(current), 1.0):
            break
    slope, intercept = float(found[0]) / scale, float(found[1]) - float(found[0]) * centre / scale
    # A negative slope would turn the ranking round; it happens when the margins know nothing.
    if slope <= 0.0:
        return PlattCalibrator(slope=0.0, intercept=float(np.log(base / (1 - base))))
    return PlattCalibrator(slope=slope, intercept=intercept)


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
