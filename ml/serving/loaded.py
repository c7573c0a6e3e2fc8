"""A model that is ready to answer: what predicts, what its input looks like, what was usual in training."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ml.drift.expectations import ExpectationSuite
from ml.drift.inline import Baseline, InlineDrift, inline_drift
from ml.models.failure import FailureModel
from ml.serving.bounds import Bounds


class NotServedError(LookupError):
    """No model serves what was asked for; the message says what does."""


@dataclass(frozen=True)
class Scores:
    """Answers for a batch: labels, and probabilities where the model has them."""

    labels: list[int | float | str]
    probabilities: list[float]


class Predictor(Protocol):
    """Predicts a batch, shape (rows, features)."""

    def scores(self, inputs: np.ndarray) -> Scores:
        """Labels and probabilities, one per row."""
        ...


@dataclass(frozen=True)
class FailureScores:
    """A failure model as a predictor: the label is whether the row is an alert."""

    model: FailureModel

    def scores(self, inputs: np.ndarray) -> Scores:
        """Labels 0 and 1, and calibrated probabilities."""
        probability = self.model.probability(inputs)
        alerts = self.model.is_alert(probability).astype(int)
        return Scores(alerts.tolist(), probability.tolist())


@dataclass(frozen=True)
class LoadedModel:
    """One version in memory. Requests hold it until they are answered, whatever is loaded meanwhile.

    Attributes:
        name: Registered model, or the file's name.
        version: Version number, or the file's digest.
        tenant_id: Owner; empty for a plain artefact folder.
        predictor: What predicts.
        columns: Names of the input's columns in order; empty where the model names none.
        baseline: Of the training rows; None where there is none.
        expectations: Suite over the columns; None where there is none.
        bounds: The suite as arrays where that is all it holds, to tell quickly that nothing is violated.
    """

    name: str
    version: str
    tenant_id: str
    predictor: Predictor
    columns: tuple[str, ...]
    baseline: Baseline | None
    expectations: ExpectationSuite | None
    bounds: Bounds | None = None

    def drift(self, inputs: np.ndarray) -> InlineDrift:
        """Judge a batch against what was usual in training."""
        is_inside = self.bounds is not None and self.bounds.hold(inputs)
        return inline_drift(inputs, self.baseline, None if is_inside else self.expectations)
