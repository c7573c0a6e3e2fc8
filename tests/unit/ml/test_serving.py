"""The inference service over a plain folder: answers, drift, metrics, reload, refusals."""

import json
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from made_up_plant import METRICS, at, history

from ml.datasets.training_set import Provenance, TrainingSet, build_training_set
from ml.drift.webhook import WebhookRequiredError
from ml.features.build import feature_set_of
from ml.models.calibration import PlattCalibrator
from ml.models.failure import FailureModel
from ml.serving.app import create_app
from ml.serving.folder import FolderModels, UnreadableModelError
from ml.serving.machine_routes import parse_horizon_hours
from ml.serving.service import InvalidInputsError, input_matrix
from ml.serving.settings import ServingSettings
from ml.training.artefacts import ArtefactFolder, usual_input, write_artefacts
from ml.training.fitting import FailureParameters, fit_booster


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    """Four machines that fail once each, 10 h after an error."""
    machines = ("a", "b", "c", "d")
    events = [(name, 100.0 + 40 * number, "failure", "comp1") for number, name in enumerate(machines)]
    events += [(name, 90.0 + 40 * number, "error", "e1") for number, name in enumerate(machines)]
    plant = history(machines, 320, events)
    return build_training_set(
        plant, timedelta(hours=24), at(320), Provenance("test"), feature_set_of(plant, METRICS)
    )


def fitted(data: TrainingSet, threshold: float) -> FailureModel:
    booster = fit_booster(data.values, data.is_failure, data.features, FailureParameters(trees=20))
    return FailureModel(booster, PlattCalibrator(1.0, 0.0), threshold, 24, data.features)


@pytest.fixture
def written(data: TrainingSet, tmp_path: Path) -> ArtefactFolder:
    """The three files of a model."""
    return write_artefacts(fitted(data, 0.5), usual_input(data), tmp_path / "models")


def settings_of(written: ArtefactFolder, **more: object) -> ServingSettings:
    return ServingSettings(
        MODEL_PATH=written.model,  # type: ignore[call-arg]
        BASELINE_PATH=written.baseline,  # type: ignore[call-arg]
        EXPECTATIONS_PATH=written.expectations,  # type: ignore[call-arg]
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
def client(written: ArtefactFolder) -> Iterator[TestClient]:
    """The stand-alone application."""
    with TestClient(create_app(settings_of(written))) as found:
        yield found


def rows(data: TrainingSet, count: int) -> list[list[float | None]]:
    """Late rows, whose windows are full."""
    values = data.values[-count:]
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def test_answers_as_the_model_does(client: TestClient, data: TrainingSet) -> None:
    """Forbids a service that predicts otherwise than the model that was trained."""
    inputs = rows(data, 5)
    answer = client.post("/predict", json={"inputs": inputs}).json()
    expected = fitted(data, 0.5).probability(data.values[-5:])
    assert answer["probabilities"] == pytest.approx(expected.tolist(), rel=1e-6)
    assert answer["predictions"] == (expected >= 0.5).astype(int).tolist()
    assert answer["drift_detected"] is False
    assert answer["model_version"]


def test_named_features_in_any_order_give_the_same_answer(client: TestClient, data: TrainingSet) -> None:
    """Forbids a named form that depends on order, or that reads an absent feature as 0."""
    row = rows(data, 1)[0]
    named = {
        name: value
        for name, value in reversed(list(zip(data.features.names, row, strict=True)))
        if value is not None
    }
    by_name = client.post("/predict", json={"inputs": [named]}).json()
    by_position = client.post("/predict", json={"inputs": [row]}).json()
    assert by_name["probabilities"] == by_position["probabilities"]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [([], "at least one row"), ([[1.0, 2.0]], "has 2 values"), ([{"no_such": 1.0}], "no_such")],
)
def test_inputs_that_do_not_fit_are_refused(client: TestClient, inputs: object, words: str) -> None:
    """Forbids a prediction from a row that is cut, or padded, in silence."""
    answer = client.post("/predict", json={"inputs": inputs})
    assert answer.status_code == 422
    assert words in answer.text


def test_drift_is_seen_counted_and_logged(
    client: TestClient, data: TrainingSet, caplog: pytest.LogCaptureFixture
) -> None:
    """Forbids a drift check that nobody can see: answer, counter and log line must all say it."""
    logging.getLogger("opsgraph.predictions").propagate = True
    far = rows(data, 1)
    column = data.features.names.index("volt_mean_24h")
    far[0][column] = 500.0  # usual is 100 ± 0.2: far beyond z = 5, and outside the training range
    with caplog.at_level(logging.INFO):
        answer = client.post("/predict", json={"inputs": far}).json()
    assert answer["drift_detected"] is True
    assert answer["drift_score"] > 5
    assert any("volt_mean_24h" in found for found in answer["drift_violations"])
    text = client.get("/metrics").text
    assert "inference_requests_total 1.0" in text
    assert "drift_events_total 1.0" in text
    assert "inference_latency_seconds_bucket" in text
    lines = [record.getMessage() for record in caplog.records if record.name == "opsgraph.predictions"]
    call = json.loads(lines[0])
    assert call["event"] == "prediction"
    assert {"inputs_sample", "predictions_sample", "drift_detected", "drift_score"} <= set(call)
    assert any(line.startswith("Drift detected") for line in lines)


def test_rare_errors_are_no_drift(data: TrainingSet) -> None:
    """Forbids an alarm for every error: one error after a quiet year is an event, and no drift."""
    usual = usual_input(data)
    assert usual.baseline is not None
    column = data.features.names.index("errors_e1_24h")
    assert np.isnan(usual.baseline[0, column])
    assert np.isfinite(usual.baseline[0, data.features.names.index("volt_mean_24h")])


def test_changed_model_is_taken_without_dropping_a_request(
    client: TestClient, data: TrainingSet, written: ArtefactFolder
) -> None:
    """Forbids an exchange of models that fails requests: every one is answered, by the old or the new."""
    models = FolderModels(written.model, written.baseline, written.expectations)
    before = models.get(None, None).version
    seen: set[tuple[int, str]] = set()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = client.post("/predict", json={"inputs": rows(data, 1)})
            seen.add((answer.status_code, answer.json()["model_version"]))

    asking = threading.Thread(target=ask)
    asking.start()
    write_artefacts(fitted(data, 0.9), usual_input(data), written.model.parent)
    assert models.refresh()
    stop.set()
    asking.join()
    assert models.get(None, None).version != before
    assert {status for status, _ in seen} == {200}


def test_unreadable_change_keeps_what_serves(written: ArtefactFolder) -> None:
    """Forbids a half-written file from taking the service down."""
    models = FolderModels(written.model, written.baseline, written.expectations)
    before = models.get(None, None).version
    written.model.write_text('{"booster": ')
    assert not models.refresh()
    assert models.get(None, None).version == before


def test_pickles_are_refused_unless_allowed(data: TrainingSet, tmp_path: Path) -> None:
    """Forbids running code from a file because a path was set; an own estimator can still be served."""
    import joblib  # pyright: ignore[reportMissingTypeStubs]
    from sklearn.linear_model import LogisticRegression  # pyright: ignore[reportMissingTypeStubs]

    inputs = np.array([[0.0, 1.0, 2.0, 3.0], [9.0, 8.0, 7.0, 6.0]])
    path = tmp_path / "model.pkl"
    joblib.dump(LogisticRegression().fit(inputs, [0, 1]), path)
    np.save(tmp_path / "baseline.npy", np.stack([inputs.mean(axis=0), inputs.std(axis=0)]))
    files = ArtefactFolder(path, tmp_path / "baseline.npy", tmp_path / "expectations.json")
    with pytest.raises(UnreadableModelError, match="ALLOW_PICKLE"):
        create_app(settings_of(files))
    with TestClient(create_app(settings_of(files, ALLOW_PICKLE=True))) as allowed:
        answer = allowed.post("/predict", json={"inputs": [[0.0, 1.0, 2.0, 3.0]]}).json()
    assert answer["predictions"] == [0]
    assert answer["drift_detected"] is False


def test_required_webhook_stops_the_start(written: ArtefactFolder) -> None:
    """Forbids a service that runs unheard where the plant demands a webhook."""
    with pytest.raises(WebhookRequiredError, match="DRIFT_WEBHOOK"):
        create_app(settings_of(written, REQUIRE_WEBHOOK=True))


def test_ragged_rows_name_the_row() -> None:
    """Forbids an error that leaves the caller to count."""
    with pytest.raises(InvalidInputsError, match=r"inputs\[1\] has 1 values; the model reads 2"):
        input_matrix([[1.0, 2.0], [1.0]], ("x", "y"))


def test_horizons_are_read_as_people_write_them() -> None:
    """Forbids reading 7_days as 7 hours."""
    assert parse_horizon_hours("7_days") == parse_horizon_hours("168_hours") == 168
    assert parse_horizon_hours("1_day") == 24
    assert parse_horizon_hours("days_7") is None
