"""Anomaly, forecast and quality models over a real Postgres and a real MLflow server."""

from datetime import datetime, timedelta

import dagster as dg
import psycopg
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from plant_warehouse import TENANT, write_plant

from ml.anomaly.scoring import score_tenant
from ml.datasets.warehouse import plant_now
from ml.registry.client import ModelRegistry
from ml.registry.promotions import serving
from ml.registry.signal_versions import SIGNAL_MODELS, decide_signals
from ml.serving.anomaly_routes import anomaly_router
from orchestration.defs.signals.assets import (
    anomalies,
    anomaly_model,
    forecast_model,
    forecasts,
    quality_model,
    quality_predictions,
    signal_promotions,
)
from orchestration.resources.mlflow import MlflowResource
from orchestration.resources.postgres import PostgresResource

pytestmark = [pytest.mark.integration]

DAYS = 60
ASSETS = [
    anomaly_model,
    forecast_model,
    quality_model,
    signal_promotions,
    anomalies,
    forecasts,
    quality_predictions,
]


@pytest.fixture(scope="module")
def plant(module_database_url: str) -> str:
    """A database with the plant's first weeks."""
    write_plant(module_database_url, DAYS)
    return module_database_url


@pytest.fixture(scope="module")
def refreshed(plant: str, mlflow_uri: str) -> dg.ExecuteInProcessResult:
    """The seven assets, materialized once in dependency order."""
    return dg.materialize(ASSETS, resources=_resources(plant, mlflow_uri))


def test_every_model_serves_after_one_run(
    refreshed: dg.ExecuteInProcessResult, plant: str, mlflow_uri: str
) -> None:
    """Forbids a green graph while nothing serves, and rows that name another version than the ledger's."""
    assert refreshed.success
    with psycopg.connect(plant) as connection:
        served = {row.model_name: row.model_version for row in serving(connection)}
        assert set(served) == set(SIGNAL_MODELS)
        for table, name in (
            ("anomaly_scores", "anomaly"),
            ("forecasts", "forecast"),
            ("quality_predictions", "quality"),
        ):
            versions = connection.execute(f"select distinct model_version from ml.{table}").fetchall()
            assert versions == [(served[name],)]
        again = decide_signals(connection, ModelRegistry(mlflow_uri), [TENANT])
    assert again == []


def test_scores_and_events_agree(refreshed: dg.ExecuteInProcessResult, plant: str) -> None:
    """Forbids events without anomalous hours, or outside the two weeks that no detector learned from."""
    assert refreshed.success
    with psycopg.connect(plant) as connection:
        clock = connection.execute("select plant_now_at from ops.plant_clock").fetchone()
        assert clock is not None
        first, last, machines = connection.execute(
            "select min(hour_at), max(hour_at), count(distinct equipment_id) from ml.anomaly_scores"
        ).fetchone() or (None, None, 0)
        orphans = connection.execute(
            "select count(*) from ml.anomaly_events as event where not exists ("
            " select 1 from ml.anomaly_scores as score where score.equipment_id = event.equipment_id"
            " and score.hour_at = event.peak_at and score.is_anomalous and score.score = event.peak_score)"
        ).fetchone()
        share = connection.execute(
            "select avg(is_anomalous::int)::double precision from ml.anomaly_scores"
        ).fetchone()
    assert machines >= 15
    assert first > clock[0] - timedelta(days=14)
    assert last <= clock[0]
    assert orphans == (0,)
    # Failures are in it: with 5 % of normal time and two days before each failure, a fifth is the most.
    assert share is not None
    assert share[0] < 0.2


def test_an_hour_asked_over_http_has_the_batch_s_score(
    refreshed: dg.ExecuteInProcessResult, plant: str, mlflow_uri: str
) -> None:
    """Forbids a service that scores an hour otherwise than the batch stored it, landed or as it is sent."""
    assert refreshed.success
    app = FastAPI()
    app.include_router(anomaly_router(plant, mlflow_uri))
    with psycopg.connect(plant) as connection:
        stored = connection.execute(
            "select distinct on (equipment_id) equipment_id, hour_at, score, is_anomalous"
            " from ml.anomaly_scores order by equipment_id, hour_at desc limit 5"
        ).fetchall()
    with TestClient(app) as client:
        for equipment_id, hour_at, score, is_anomalous in stored:
            said = client.post("/v1/anomaly", json={"equipment_id": equipment_id}).raise_for_status().json()
            assert datetime.fromisoformat(said["hour_at"]) == hour_at
            assert said["anomaly_score"] == pytest.approx(score, rel=1e-9)
            assert said["is_anomalous"] == is_anomalous
        asked = {"equipment_id": stored[0][0]}
        sensors = client.post("/v1/anomaly", json=asked).json()["contributing_sensors"]
        # An hour in which every sensor reads far from anything usual, before it lands.
        sent = {**asked, "readings": dict.fromkeys(sensors, 1e6)}
        said = client.post("/v1/anomaly", json=sent).raise_for_status().json()
        assert datetime.fromisoformat(said["hour_at"]) == stored[0][1] + timedelta(hours=1)
        lacking = client.post("/v1/anomaly", json={**asked, "readings": {}})
        assert (lacking.status_code, "readings lack" in lacking.text) == (422, True)
        late = client.post("/v1/anomaly", json={**sent, "hour_at": stored[0][1].isoformat()})
        assert (late.status_code, "has landed already" in late.text) == (422, True)
        assert client.post("/v1/anomaly", json={"equipment_id": "nobody"}).status_code == 404


def test_forecasts_lie_ahead_within_their_intervals(refreshed: dg.ExecuteInProcessResult, plant: str) -> None:
    """Forbids a forecast of the past, a metric without a forecast, and an interval that misses its value."""
    assert refreshed.success
    with psycopg.connect(plant) as connection:
        rows = connection.execute(
            "select subject_kind, count(distinct (subject_id, metric)), min(forecast_at - as_of),"
            " bool_and(lower <= value and value <= upper) from ml.forecasts group by 1 order by 1"
        ).fetchall()
    by_kind = {kind: (series, ahead, is_inside) for kind, series, ahead, is_inside in rows}
    # 20 machines with 5 metrics, of which 4 conveyors have no pressure sensor: 96, less the sensors that are
    # silent at the end (a simulated fault). 2 plants with 2 figures.
    assert 90 <= by_kind["equipment"][0] <= 96
    assert by_kind["plant"][0] == 4
    assert all(is_inside for _, _, is_inside in by_kind.values())
    assert by_kind["equipment"][1] > timedelta(hours=-1)


def test_a_second_run_trains_and_decides_nothing(
    refreshed: dg.ExecuteInProcessResult, plant: str, mlflow_uri: str
) -> None:
    """Forbids a new version of equal data, code and parameters, and rows that multiply."""
    assert refreshed.success
    count = "select (select count(*) from ml.anomaly_events), (select count(*) from ml.forecasts)"
    with psycopg.connect(plant) as connection:
        before = connection.execute(count).fetchone()
    assert dg.materialize(ASSETS, resources=_resources(plant, mlflow_uri)).success
    with psycopg.connect(plant) as connection:
        assert connection.execute(count).fetchone() == before
        decided = connection.execute("select count(*) from ml.promotions").fetchone()
    assert decided == (len(SIGNAL_MODELS),)


def test_scoring_stays_behind_the_clock_by_the_data_delay(
    refreshed: dg.ExecuteInProcessResult, plant: str, mlflow_uri: str
) -> None:
    """Forbids a setting that is read and not applied: with a day of delay no later hour is scored."""
    assert refreshed.success
    clock = plant_now(plant, TENANT)
    assert clock is not None
    delay = timedelta(hours=24)
    found = score_tenant(plant, ModelRegistry(mlflow_uri), TENANT, data_delay=delay)
    assert found.as_of == clock - delay
    last = [machine.scores["hour_at"].max() for machine in found.machines]
    assert max(last) <= clock - delay  # type: ignore[type-var]


def _resources(database_url: str, mlflow_uri: str) -> dict[str, dg.ConfigurableResource]:
    return {
        "postgres": PostgresResource(url=database_url),
        "mlflow": MlflowResource(tracking_uri=mlflow_uri),
    }
