"""Landing as Dagster runs it: a materialization lands what waits, its check holds, the sensor asks once."""

from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from orchestration.defs.landing import assets, checks, landing_again, sensors
from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.leases import SERVICE_LEASE, acquire
from orchestration.ingest.producer import RecordProducer
from orchestration.ingest.simulators.clock import PLANT_START
from orchestration.ingest.topics import ensure_topics
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.lake import LakeResource
from orchestration.resources.postgres import PostgresResource

pytestmark = pytest.mark.integration
STATUS = "equipment-status"


@pytest.fixture
def resources(
    database_url: str, empty_database_url: str, kafka_servers: str, services_dir: Path
) -> dict[str, Any]:
    """Resources on the session's services."""
    ensure_topics(kafka_servers, load_contracts())
    return {
        "postgres": PostgresResource(url=database_url),
        "kafka": KafkaResource(bootstrap_servers=kafka_servers),
        "lake": LakeResource(
            url=str(services_dir / f"lake-{database_url[-12:]}"),
            catalog_uri=empty_database_url.replace("postgresql://", "postgresql+psycopg2://"),
        ),
    }


def _send(servers: str, count: int) -> None:
    with RecordProducer(servers, load_contracts()) as producer:
        for number in range(count):
            row = {"tenant_id": "demo-plant", "equipment_id": f"CNC-A-{101 + number}", "status": "idle"}
            producer.send(STATUS, {**row, "event_at": PLANT_START})


def _materialize(resources: dict[str, Any]) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [*assets.topics, *assets.raw_tables, *checks.ledger_checks, *checks.invalid_share_checks],
        resources=resources,
        selection=dg.AssetSelection.assets(["raw", "equipment_status"]),
        instance=dg.DagsterInstance.ephemeral(),
    )


def test_materializing_lands_everything_and_the_check_is_its_proof(resources: dict[str, Any]) -> None:
    """Forbids a green materialization over messages that did not land, and a check that nobody ran."""
    _materialize(resources)
    _send(resources["kafka"].bootstrap_servers, 6)
    result = _materialize(resources)
    (event,) = result.get_asset_materialization_events()
    metadata = {name: item.value for name, item in event.materialization.metadata.items()}
    assert (metadata["rows_landed"], metadata["lag"]) == (6, 0)
    evaluations = {item.check_name: item for item in result.get_asset_check_evaluations()}
    assert evaluations["ledger_balances"].passed and evaluations["invalid_share"].passed
    assert evaluations["ledger_balances"].metadata["raw_rows"].value == metadata["dagster/row_count"]


def test_an_unbalanced_ledger_fails_the_blocking_check(resources: dict[str, Any]) -> None:
    """Forbids a lost row that leaves the downstream models running."""
    _send(resources["kafka"].bootstrap_servers, 3)
    _materialize(resources)
    with psycopg.connect(resources["postgres"].url) as connection:
        connection.execute(
            "delete from raw.equipment_status "
            "where kafka_offset = (select max(kafka_offset) from raw.equipment_status)"
        )
    result = dg.materialize(
        [*assets.topics, *assets.raw_tables, *checks.ledger_checks],
        resources=resources,
        selection=dg.AssetSelection.assets(["raw", "equipment_status"]),
        instance=dg.DagsterInstance.ephemeral(),
        raise_on_error=False,
    )
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed and evaluation.blocking
    assert "the ledger landed" in evaluation.metadata["faults"].value


def test_the_sensor_asks_once_per_evidence_and_leaves_the_topics_to_a_service(
    resources: dict[str, Any],
) -> None:
    """Forbids a sensor that requests a run every tick, or that runs beside the service."""
    _send(resources["kafka"].bootstrap_servers, 1)
    first = sensors.kafka_lag(dg.build_sensor_context(resources=resources))
    assert isinstance(first, dg.SensorResult)
    (request,) = first.run_requests or []
    assert dg.AssetKey(["raw", "equipment_status"]) in (request.asset_selection or [])
    assert request.run_key == first.cursor and "equipment-status:" in str(first.cursor)

    again = sensors.kafka_lag(dg.build_sensor_context(resources=resources, cursor=first.cursor))
    assert isinstance(again, dg.SkipReason) and "requested before" in str(again.skip_message)

    lease = acquire(resources["postgres"].url, SERVICE_LEASE, "the service")
    assert lease is not None
    with lease:
        held = sensors.kafka_lag(dg.build_sensor_context(resources=resources))
    assert isinstance(held, dg.SkipReason) and "the service lands" in str(held.skip_message)


def test_a_day_can_be_landed_again_as_often_as_wanted(resources: dict[str, Any]) -> None:
    """Forbids a re-landing job that needs a new run key, forgets rows, or fails on a day without any."""
    _send(resources["kafka"].bootstrap_servers, 4)
    _materialize(resources)
    with psycopg.connect(resources["postgres"].url) as connection:
        count, day = connection.execute(
            "select count(*), (max(landed_at) at time zone 'UTC')::date::text from raw.equipment_status"
        ).fetchone() or (0, "")
        connection.execute("delete from raw.equipment_status where kafka_offset % 2 = 0")
    for asked in (day, day, "2026-01-02"):
        result = landing_again.land_again.execute_in_process(
            partition_key=asked,
            resources=resources,
            run_config={"ops": {"land_day_again": {"config": {"topics": [STATUS]}}}},
            instance=dg.DagsterInstance.ephemeral(),
        )
        assert result.success
    with psycopg.connect(resources["postgres"].url) as connection:
        assert connection.execute("select count(*) from raw.equipment_status").fetchone() == (count,)
