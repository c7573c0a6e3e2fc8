"""Training, promotion and prediction over a real Postgres and a real MLflow server."""

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from azure_warehouse import write_warehouse
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from ml.datasets.training_set import build_training_set
from ml.datasets.warehouse import WarehouseNotBuiltError, label_disagreements, read_history, tenants
from ml.drift.webhook import DriftWebhook
from ml.models.horizons import HORIZONS, NEXT_DAY
from ml.predictions.run import backfill_tenant, daily_instants, predict_tenant
from ml.registry.client import ModelRegistry, NoChampionError, RegisteredVersion
from ml.registry.decide import NothingToDecideError, approve, decide, decide_pending, roll_back
from ml.registry.promotions import history as ledger
from ml.registry.promotions import serving, waiting
from ml.registry.rules import PromotionRule
from ml.serving.champions import ChampionModels
from ml.serving.machine_routes import machine_router
from ml.serving.metrics import InferenceMetrics
from ml.serving.routes import inference_router
from ml.serving.service import InferenceService
from ml.training.pipeline import train_tenant
from orchestration.defs.promotion.assets import failure_predictions, promotions
from orchestration.defs.training.assets import failure_7d, failure_24h
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.mlflow import MlflowResource
from orchestration.resources.postgres import PostgresResource

pytestmark = [pytest.mark.integration, pytest.mark.data]

TENANT = "azure-pdm"


@pytest.fixture(scope="module")
def warehouse(module_database_url: str, azure_pdm_dir: Path) -> str:
    """A database with the replay's warehouse tables."""
    write_warehouse(module_database_url, azure_pdm_dir)
    return module_database_url


@pytest.fixture(scope="module")
def refreshed(warehouse: str, mlflow_uri: str) -> dg.ExecuteInProcessResult:
    """The four assets, materialized once in dependency order."""
    return dg.materialize(
        [failure_24h, failure_7d, promotions, failure_predictions],
        resources={
            "postgres": PostgresResource(url=warehouse),
            "kafka": KafkaResource(bootstrap_servers=""),
            "mlflow": MlflowResource(tracking_uri=mlflow_uri),
        },
    )


def test_assets_train_promote_and_predict(
    refreshed: dg.ExecuteInProcessResult, warehouse: str, mlflow_uri: str
) -> None:
    """Forbids a graph that is green while nothing serves, or whose rows do not name their version."""
    assert refreshed.success
    registry = ModelRegistry(mlflow_uri)
    with psycopg.connect(warehouse) as connection:
        now = {(row.model_name, row.tenant_id): row.model_version for row in serving(connection)}
        rows = connection.execute(
            "select horizon_hours, count(*), min(model_version),"
            " min(jsonb_array_length(contributing_factors)),"
            " bool_and(source_vector ? 'equipment-sensors/0')"
            " from ml.failure_predictions group by 1 order by 1"
        ).fetchall()
    assert set(now) == {("failure-24h", TENANT), ("failure-7d", TENANT)}
    # 20 machines, two horizons, each with at least one reason and the offsets that it includes.
    assert [(row[0], row[1]) for row in rows] == [(24, 20), (168, 20)]
    assert all(row[2] == "1" and row[3] >= 1 and row[4] for row in rows)
    for horizon in HORIZONS:
        champion = registry.by_alias(horizon.model_name, "champion", TENANT)
        assert champion is not None
        assert champion.version == now[(horizon.model_name, TENANT)]


def test_checks_of_the_gate_are_blocking_and_held(refreshed: dg.ExecuteInProcessResult) -> None:
    """Forbids a promotion that no check stands before."""
    found = {evaluation.check_name: evaluation for evaluation in refreshed.get_asset_check_evaluations()}
    assert found["alerts_better_than_error_rule"].passed
    assert found["is_calibrated"].passed
    assert all(spec.blocking for spec in failure_24h.check_specs)


def test_same_data_is_not_trained_twice(
    refreshed: dg.ExecuteInProcessResult, warehouse: str, mlflow_uri: str
) -> None:
    """Forbids a new version, a second decision or a new row for data that a version already has."""
    assert refreshed.success
    registry = ModelRegistry(mlflow_uri)
    again = train_tenant(warehouse, registry, TENANT, NEXT_DAY)
    assert not again.is_new
    assert again.version is not None
    assert again.version.version == "1"
    with psycopg.connect(warehouse) as connection:
        assert decide_pending(connection, registry, [TENANT], HORIZONS) == []
        before = connection.execute("select count(*) from ml.failure_predictions").fetchone()
    predict_tenant(warehouse, registry, TENANT, NEXT_DAY)
    with psycopg.connect(warehouse) as connection:
        assert connection.execute("select count(*) from ml.failure_predictions").fetchone() == before


def test_challenger_that_does_not_win_leaves_the_champion(
    refreshed: dg.ExecuteInProcessResult, warehouse: str, mlflow_uri: str
) -> None:
    """Forbids a promotion because a number moved: two days more of the same is a tie, and ties keep."""
    assert refreshed.success
    registry = ModelRegistry(mlflow_uri)
    history = read_history(warehouse, TENANT).history
    assert history.clock is not None
    earlier = train_tenant(warehouse, registry, TENANT, NEXT_DAY, as_of=history.clock - timedelta(days=2))
    assert earlier.is_new
    with psycopg.connect(warehouse) as connection:
        (decision,) = decide_pending(connection, registry, [TENANT], [NEXT_DAY])
        open_rows = [row.model_version for row in serving(connection) if row.model_name == "failure-24h"]
    assert decision.decision == "kept_champion"
    assert "average precision differs" in decision.reason
    assert open_rows == ["1"]


def test_version_stays_until_enough_data_is_new(
    refreshed: dg.ExecuteInProcessResult, warehouse: str, mlflow_uri: str
) -> None:
    """Forbids a refresh that trains again for an hour of rows, and one that never trains again."""
    assert refreshed.success
    registry = ModelRegistry(mlflow_uri)
    clock = read_history(warehouse, TENANT).history.clock
    assert clock is not None
    earlier = train_tenant(warehouse, registry, TENANT, NEXT_DAY, as_of=clock - timedelta(days=2))

    kept, grown = [
        train_tenant(warehouse, registry, TENANT, NEXT_DAY, keep_for=timedelta(days=days)) for days in (3, 1)
    ]

    assert (kept.version, kept.is_new) == (earlier.version, False)
    assert "48 h of data are newer, 72 h train a new one" in kept.note
    assert grown.version is not None  # two days are new: the set of all data, which version 1 has
    assert grown.version.version == "1"


def test_run_holds_everything_that_a_reviewer_needs(
    refreshed: dg.ExecuteInProcessResult, mlflow_uri: str
) -> None:
    """Forbids a registered version without data digest, query, source vector, features, card or signature."""
    assert refreshed.success
    registry = ModelRegistry(mlflow_uri)
    version = registry.version("failure-24h", "1")
    assert set(version.tags) >= {"tenant", "data_digest", "code_version", "params_hash", "dagster_run_id"}
    from mlflow.tracking import MlflowClient

    client = MlflowClient(mlflow_uri, mlflow_uri)
    files = {file.path for file in client.list_artifacts(version.run_id)}
    assert files >= {
        "model_card.md",
        "query.sql",
        "source_vector.json",
        "features.json",
        "data.json",
        "precision_recall.png",
        "reliability.png",
        "feature_importance.png",
        "out_of_fold.parquet",
    }
    assert registry.metrics(version)["error_24h_event_precision"] < 0.3


def test_champion_loads_as_pyfunc_and_natively_with_equal_values(
    refreshed: dg.ExecuteInProcessResult, warehouse: str, mlflow_uri: str
) -> None:
    """Forbids an artefact that MLflow serves with other values than the project does."""
    assert refreshed.success
    registry = ModelRegistry(mlflow_uri)
    served = registry.load_champion("failure-24h", TENANT)
    found = read_history(warehouse, TENANT)
    data = build_training_set(found.history, NEXT_DAY.length, found.as_of, found.provenance)
    import mlflow

    mlflow.set_tracking_uri(mlflow_uri)
    try:
        loaded = mlflow.pyfunc.load_model(f"models:/failure-24h@champion-{TENANT}")
        frame = loaded.input_example.astype("float64")
        by_mlflow = loaded.predict(frame)["failure_probability"].to_numpy()
    finally:
        mlflow.set_tracking_uri(None)
    assert by_mlflow == pytest.approx(served.model.probability(data.values[:3]), rel=1e-6)
    assert loaded.metadata.signature.inputs.input_names() == list(data.features.names)


def test_tenant_without_champion_gets_a_note_and_no_other_tenants_model(
    refreshed: dg.ExecuteInProcessResult, warehouse: str, mlflow_uri: str
) -> None:
    """Forbids serving one tenant with the model of another, which the plain `champion` alias would do."""
    assert refreshed.success
    registry = ModelRegistry(mlflow_uri)
    with pytest.raises(NoChampionError, match="opsgraph train"):
        registry.load_champion("failure-24h", "another-plant")
    assert registry.by_alias("failure-24h", "champion", "another-plant") is None


def test_training_set_as_known_then_equals_one_from_truncated_tables(
    warehouse: str, azure_pdm_dir: Path
) -> None:
    """Forbids a query that looks past its instant: reading as of T and truncating at T must be equal."""
    everything = read_history(warehouse, TENANT)
    instant = datetime.fromisoformat("2015-02-20T12:00:00+00:00")
    then = read_history(warehouse, TENANT, as_of=instant)
    at_once = build_training_set(then.history, NEXT_DAY.length, instant, then.provenance)
    truncated = build_training_set(everything.history, NEXT_DAY.length, instant, everything.provenance)
    assert at_once.data_digest == truncated.data_digest
    assert (at_once.is_failure == truncated.is_failure).all()
    assert at_once.keys["hour_at"].max() <= instant - NEXT_DAY.length


def test_labels_agree_with_the_warehouse(warehouse: str) -> None:
    """Forbids two definitions of a failure label; one flipped row must be seen."""
    found = read_history(warehouse, TENANT)
    assert label_disagreements(warehouse, found, NEXT_DAY.length) == 0
    with psycopg.connect(warehouse) as connection:
        connection.execute(
            "update intermediate.int_failure_labels set is_failure_within_24h = not is_failure_within_24h"
            " where equipment_id = 'azure-pdm-003' and hour_at = '2015-02-01T06:00Z'"
        )
        connection.commit()
        assert label_disagreements(warehouse, found, NEXT_DAY.length) == 1
        connection.execute(
            "update intermediate.int_failure_labels set is_failure_within_24h = not is_failure_within_24h"
            " where equipment_id = 'azure-pdm-003' and hour_at = '2015-02-01T06:00Z'"
        )


def test_backfill_writes_each_day_once(
    refreshed: dg.ExecuteInProcessResult, warehouse: str, mlflow_uri: str
) -> None:
    """Forbids a history of predictions that grows when it is made again."""
    assert refreshed.success
    registry = ModelRegistry(mlflow_uri)
    first = datetime.fromisoformat("2015-03-10T05:00:00+00:00")
    instants = daily_instants(first, first + timedelta(days=4))
    for _ in range(2):
        # 5 days × 20 machines.
        assert backfill_tenant(warehouse, registry, TENANT, NEXT_DAY, instants) == 100
    with psycopg.connect(warehouse) as connection:
        row = connection.execute(
            "select count(*) from ml.failure_predictions where horizon_hours = 24 and as_of = any(%s)",
            (instants,),
        ).fetchone()
    assert row == (100,)


def test_api_answers_as_the_batch_did_and_names_the_version(
    refreshed: dg.ExecuteInProcessResult, warehouse: str, mlflow_uri: str
) -> None:
    """Forbids a single answer with other values than the batch's, or one whose version nobody knows."""
    assert refreshed.success
    models = ChampionModels(warehouse, mlflow_uri, [horizon.model_name for horizon in HORIZONS])
    assert models.refresh() == 2
    assert models.refresh() == 0
    service = InferenceService(models, InferenceMetrics.on(CollectorRegistry()), DriftWebhook())
    app = FastAPI()
    app.include_router(inference_router(lambda: service))
    app.include_router(machine_router(lambda: service, warehouse))
    with psycopg.connect(warehouse) as connection:
        rows = connection.execute(
            "select distinct on (equipment_id) equipment_id, failure_probability, contributing_factors,"
            " recommended_action, model_version from ml.failure_predictions where horizon_hours = 168"
            " order by equipment_id, as_of desc limit 3"
        ).fetchall()
    with TestClient(app) as client:
        for machine, probability, factors, action, version in rows:
            answer = client.post(
                "/v1/predict",
                json={
                    "equipment_id": machine,
                    "prediction_type": "failure_risk",
                    "time_horizon": "7_days",
                },
            ).json()
            assert answer["failure_probability"] == pytest.approx(probability, rel=1e-6)
            assert answer["contributing_factors"] == factors
            assert (answer["recommended_action"], answer["model_version"]) == (action, version)
        assert client.post("/v1/predict", json={"equipment_id": "nobody"}).status_code == 404
        refused = client.post(
            "/predict", json={"inputs": [[1.0]], "tenant_id": "another-plant", "model": "failure-24h"}
        )
        assert refused.status_code == 404
        assert "another-plant" in refused.json()["detail"]


def test_a_person_approves_rejects_and_rolls_back(
    refreshed: dg.ExecuteInProcessResult, warehouse: str, mlflow_uri: str
) -> None:
    """Forbids a promotion without a person in MANUAL mode, and a rollback that leaves alias or ledger."""
    assert refreshed.success
    registry, models = ModelRegistry(mlflow_uri), ChampionModels(warehouse, mlflow_uri, ["failure-24h"])
    models.refresh()
    history = read_history(warehouse, TENANT).history
    assert history.clock is not None
    trained = train_tenant(warehouse, registry, TENANT, NEXT_DAY, as_of=history.clock - timedelta(days=4))
    assert trained.version is not None

    class WithoutChampion(ModelRegistry):
        """As for a plant's first version, which wins by passing the bars."""

        def by_alias(self, name: str, alias: str, tenant_id: str) -> RegisteredVersion | None:
            return None if alias == "champion" else super().by_alias(name, alias, tenant_id)

    with psycopg.connect(warehouse, autocommit=True) as connection:
        decision = decide(
            connection,
            WithoutChampion(mlflow_uri),
            trained.version,
            NEXT_DAY,
            rule=PromotionRule(mode="MANUAL"),
        )
        assert decision is not None
        assert decision.decision == "waiting"
        assert [row.model_version for row in waiting(connection)] == [trained.version.version]
        # While it waits it is loaded, and scores in shadow beside its champion.
        assert models.refresh() == 1
        champion = models.get(TENANT, "failure-24h")
        shadow = models.challenger(champion)
        assert shadow is not None
        assert shadow.version == trained.version.version

        approve(connection, registry, TENANT, "failure-24h", "kim", "card reviewed")
        assert waiting(connection) == []
        models.refresh()
        assert models.get(TENANT, "failure-24h").version == trained.version.version
        alias = registry.by_alias("failure-24h", "champion", TENANT)
        assert alias is not None
        assert alias.version == trained.version.version

        roll_back(connection, registry, TENANT, "failure-24h", "kim", "alarms since noon")
        models.refresh()
        assert models.get(TENANT, "failure-24h").version == champion.version
        with pytest.raises(NothingToDecideError, match="served before"):
            roll_back(connection, registry, TENANT, "failure-24h", "kim", "again")
        rows = ledger(connection, TENANT, "failure-24h")
    assert [row.decision for row in rows[:3]] == ["rolled_back", "promoted", "waiting"]
    assert rows[1].decided_by == "kim"
    assert rows[1].served_to == rows[0].served_from


def test_absent_warehouse_says_what_to_run(database_url: str) -> None:
    """Forbids a bare 'relation does not exist' in the face of somebody who has not built the warehouse."""
    with pytest.raises(WarehouseNotBuiltError, match="build the warehouse first"):
        tenants(database_url)
