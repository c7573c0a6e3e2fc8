"""One prediction call: score, judge drift, count, log; webhook and challenger work behind the answer."""

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any, Protocol

import numpy as np

from ml.drift.inline import InlineDrift
from ml.drift.webhook import DriftWebhook
from ml.serving.loaded import LoadedModel, Scores
from ml.serving.metrics import InferenceMetrics

log = logging.getLogger(__name__)
_calls = logging.getLogger("opsgraph.predictions")

SAMPLE_ROWS = 1
# Work behind the answers is dropped, not queued without end, when a receiver or a challenger is slow.
MOST_WAITING = 64

NamedRow = Mapping[str, float | None]


class InvalidInputsError(ValueError):
    """The inputs do not fit the model; the message names rows or features."""


class ModelSource(Protocol):
    """Where the served versions come from."""

    def get(self, tenant_id: str | None, name: str | None) -> LoadedModel:
        """What serves a tenant; raises `NotServedError`."""
        ...

    def challenger(self, served: LoadedModel) -> LoadedModel | None:
        """The version that runs in shadow beside a served one."""
        ...

    def served(self) -> list[LoadedModel]:
        """Everything that serves."""
        ...


@dataclass(frozen=True)
class Answer:
    """What a call gets back, and the version that gave it."""

    scores: Scores
    drift: InlineDrift
    model: LoadedModel


class InferenceService:
    """Answers prediction calls from whatever a source serves at that moment."""

    def __init__(self, models: ModelSource, metrics: InferenceMetrics, webhook: DriftWebhook) -> None:
        self.models = models
        self.metrics = metrics
        self._webhook = webhook
        self._behind = ThreadPoolExecutor(1, thread_name_prefix="after-prediction")
        self._room = BoundedSemaphore(MOST_WAITING)

    def predict(
        self,
        inputs: Sequence[Sequence[float | None]] | Sequence[NamedRow],
        tenant_id: str | None = None,
        model_name: str | None = None,
    ) -> Answer:
        """Predict a batch.

        Args:
            inputs: Rows of values in the model's order, or of named features; null is a missing value.
            tenant_id: Whose model; may be left out where one tenant is served.
            model_name: Registered model; the source's default without it.

        Raises:
            NotServedError: Nothing serves this.
            InvalidInputsError: The rows do not fit the model.
        """
        begun = time.perf_counter()
        served = self.models.get(tenant_id, model_name)
        values = input_matrix(inputs, served.columns)
        scores = served.predictor.scores(values)
        drift = served.drift(values)
        self.metrics.requests.inc()
        self.metrics.rows.inc(len(values))
        answer = Answer(scores, drift, served)
        self._log(values, answer)
        if drift.detected:
            self._on_drift(answer)
        if (challenger := self.models.challenger(served)) is not None:
            self._later(lambda: self._shadow(values, scores, challenger))
        self.metrics.latency.observe(time.perf_counter() - begun)
        return answer

    def close(self) -> None:
        """Finish what runs behind the answers."""
        self._behind.shutdown(wait=True, cancel_futures=True)

    def _log(self, values: np.ndarray, answer: Answer) -> None:
        line = {
            "event": "prediction",
            "inputs_sample": [[_finite(value) for value in row] for row in values[:SAMPLE_ROWS].tolist()],
            "predictions_sample": answer.scores.labels[:SAMPLE_ROWS],
            "drift_detected": answer.drift.detected,
            "drift_score": round(answer.drift.score, 4),
            "model": answer.model.name,
            "model_version": answer.model.version,
            "tenant_id": answer.model.tenant_id,
        }
        _calls.info(json.dumps(line))

    def _on_drift(self, answer: Answer) -> None:
        self.metrics.drift_events.inc()
        event = {
            "event": "drift",
            "drift_score": answer.drift.score,
            "violations": list(answer.drift.violations),
            "model": answer.model.name,
            "model_version": answer.model.version,
            "tenant_id": answer.model.tenant_id,
        }
        _calls.warning("Drift detected %s", json.dumps(event))
        if self._webhook.url:
            self._later(lambda: self._webhook.send(event))

    def _shadow(self, values: np.ndarray, champion: Scores, challenger: LoadedModel) -> None:
        if champion.probabilities and values.shape[1] != len(challenger.columns):
            return
        scores = challenger.predictor.scores(values)
        self.metrics.shadow_rows.inc(len(values))
        differing = sum(ours != theirs for ours, theirs in zip(champion.labels, scores.labels, strict=True))
        self.metrics.shadow_disagreements.inc(differing)
        for ours, theirs in zip(champion.probabilities, scores.probabilities, strict=True):
            self.metrics.shadow_difference.observe(abs(ours - theirs))

    def _later(self, work: Callable[[], Any]) -> None:
        if not self._room.acquire(blocking=False):
            return

        def run() -> None:
            try:
                work()
            except Exception:
                log.exception("Work behind a prediction failed; the prediction was answered")
            finally:
                self._room.release()

        self._behind.submit(run)


def input_matrix(
    inputs: Sequence[Sequence[float | None]] | Sequence[NamedRow], columns: tuple[str, ...]
) -> np.ndarray:
    """Rows as the model reads them, shape (rows, features), float32, NaN where missing.

    Raises:
        InvalidInputsError: No rows, rows of another length, or unknown feature names.
    """
    if not inputs:
        raise InvalidInputsError("inputs is empty: give at least one row.")
    if isinstance(inputs[0], Mapping):
        return _of_names([row for row in inputs if isinstance(row, Mapping)], columns)
    rows = [row for row in inputs if not isinstance(row, Mapping)]
    wanted = len(columns) or len(rows[0])
    for number, row in enumerate(rows):
        if len(row) != wanted:
            raise InvalidInputsError(
                f"inputs[{number}] has {len(row)} values; the model reads {wanted}. "
                "Their names and order are at GET /v1/models."
            )
    # An absent value is NaN to numpy only as a float: None in a row of floats becomes NaN here.
    return np.asarray(rows, dtype=np.float32)


def _of_names(rows: Sequence[NamedRow], columns: tuple[str, ...]) -> np.ndarray:
    if not columns:
        raise InvalidInputsError("This model names no features: give rows of values.")
    position = {name: index for index, name in enumerate(columns)}
    values = np.full((len(rows), len(columns)), np.nan, dtype=np.float32)
    for number, row in enumerate(rows):
        unknown = [name for name in row if name not in position]
        if unknown:
            raise InvalidInputsError(
                f"inputs[{number}] names {', '.join(sorted(unknown)[:5])}, which the model does not read. "
                "Its features are at GET /v1/models; one that is left out counts as missing."
            )
        for name, value in row.items():
            if value is not None:
                values[number, position[name]] = value
    return values


def log_calls_to_stdout() -> None:
    """One line per call on stdout: the level, then the JSON object."""
    if _calls.handlers:
        return
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    _calls.addHandler(handler)
    _calls.setLevel(logging.INFO)
    _calls.propagate = False


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
