"""Landing as Dagster runs it: a materialization lands what waits, its check holds, the sensor asks once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import psycopg
import pytest

from orchestration.defs.landing import (
    asking,
    assets,
    checks,
    drop_folder,
    expectations,
    landing_again,
    sensors,
)
from orchestration.defs.upkeep import care
from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.intake.drop_folder import FileOutcome
from orchestration.ingest.leases import SERVICE_LEASE, acquire
from orchestration.ingest.producer import MessageProducer, RecordProducer
from orchestration.ingest.simulators.clock import PLANT_START
from orchestration.ingest.topics import ensure_topics
from orchestration.resources.drop_folder import DropFolderResource
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
    dg.materialize(
        [*assets.topics, *assets.raw_tables],
        resources=resources,
        selection=dg.AssetSelection.assets(["raw", "equipment_status"]),
        instance=dg.DagsterInstance.ephemeral(),
    )
    _lose_a_row(resources)
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


def _lose_a_row(resources: dict[str, Any]) -> None:
    with psycopg.connect(resources["postgres"].url) as connection:
        connection.execute(
            "delete from raw.equipment_status "
            "where kafka_offset = (select max(kafka_offset) from raw.equipment_status)"
        )


def test_the_nightly_count_finds_what_was_lost_after_it_was_counted(resources: dict[str, Any]) -> None:
    """Forbids a row that vanishes for good once a landing's check has seen it."""
    _send(resources["kafka"].bootstrap_servers, 3)
    assert _materialize(resources).success
    _lose_a_row(resources)

    @dg.job(resource_defs=resources)
    def count() -> None:
        care.count_everything_again()

    result = count.execute_in_process(raise_on_error=False)
    assert not result.success


def test_too_many_refused_messages_warn_and_then_fail(resources: dict[str, Any]) -> None:
    """Forbids a share over the whole history, in which a bad day drowns, and a check that can only warn."""
    servers = resources["kafka"].bootstrap_servers
    _materialize(resources)  # what other tests have sent
    _make_older(resources)
    _send(servers, 97)
    _refuse(servers, 3)
    warned = _invalid_share(_materialize(resources))
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert warned.metadata["share"].value == pytest.approx(3 / 100)

    _refuse(servers, 3)
    failed = _invalid_share(_materialize(resources))
    assert (failed.passed, failed.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert failed.metadata["share"].value == pytest.approx(6 / 103)

    _make_older(resources)
    _send(servers, 1)
    assert _invalid_share(_materialize(resources)).metadata["share"].value == 0.0


def _make_older(resources: dict[str, Any]) -> None:
    """All that was landed was landed two days before."""
    with psycopg.connect(resources["postgres"].url) as connection:
        for table in ("ops.landing_ledger", "ops.dead_letters"):
            connection.execute(f"update {table} set landed_at = landed_at - interval '2 days'")


def _refuse(servers: str, count: int) -> None:
    producer = MessageProducer(servers)
    for _ in range(count):
        producer.send(STATUS, b"k", b"no message of this topic")
    producer.flush()


def _invalid_share(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    return next(item for item in result.get_asset_check_evaluations() if item.check_name == "invalid_share")


def test_the_suites_run_on_what_was_landed(resources: dict[str, Any]) -> None:
    """Forbids suites that are generated and never run, and an error for a table without rows."""
    _send(resources["kafka"].bootstrap_servers, 6)
    landed = _materialize(resources)
    (event,) = landed.get_asset_materialization_events()
    row_count = event.materialization.metadata["dagster/row_count"].value

    def verdicts() -> dict[str, dg.AssetCheckEvaluation]:
        result = dg.materialize(
            [expectations.expectations], resources=resources, instance=dg.DagsterInstance.ephemeral()
        )
        return {item.check_name: item for item in result.get_asset_check_evaluations()}

    good = verdicts()
    assert all(item.passed for item in good.values())
    assert good["equipment_status_meets_its_contract"].metadata["rows"].value == row_count
    assert good["quality_metrics_meets_its_contract"].metadata["rows"].value == 0
    with psycopg.connect(resources["postgres"].url) as connection:
        connection.execute("update raw.equipment_status set status = 'asleep'")
    bad = verdicts()["equipment_status_meets_its_contract"]
    assert (bad.passed, bad.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "status: expect_column_values_to_be_in_set" in bad.metadata["failed"].value


def _named_land() -> dg.JobDefinition:
    @dg.job(name="land")
    def nothing() -> None:
        """Stands for the job that lands."""

    return nothing


def test_the_drop_folder_asks_the_registry_and_fails_while_a_file_waits(
    resources: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids pinned ids where a registry gives others, and a green run over a file that nobody takes."""
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://registry:8081")
    asked: list[str | None] = []
    monkeypatch.setattr(drop_folder, "SchemaCatalog", lambda contracts, url: asked.append(url))
    waiting = FileOutcome("a.csv", None, "the registry refuses the schema", is_waiting=True)
    monkeypatch.setattr("orchestration.ingest.intake.drop_folder.take_files", lambda *_: [waiting])

    result = drop_folder.take_dropped_files.execute_in_process(
        resources={**resources, "drop_folder": DropFolderResource(path=str(tmp_path))},
        instance=dg.DagsterInstance.ephemeral(),
        raise_on_error=False,
    )

    assert asked == ["http://registry:8081"]
    assert not result.success


def test_a_failed_run_is_asked_for_again_later_and_later() -> None:
    """Forbids waiting messages that nobody lands because the one run for them failed."""
    instance, nothing = dg.DagsterInstance.ephemeral(), _named_land()

    def ask(now: datetime) -> str | None:
        return asking.key_to_ask_again(instance, "land", "evidence", now)

    def fail() -> datetime:
        run = instance.create_run_for_job(nothing, tags={"evidence": "evidence"})
        instance.report_run_failed(run)
        (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))
        assert record.end_time is not None
        return datetime.fromtimestamp(record.end_time, UTC)

    assert ask(datetime.now(UTC)) is None, "no run is known: it was asked for just now"
    first = fail()
    # One failure: a minute. Two: two minutes.
    assert ask(first + timedelta(seconds=59)) is None
    assert ask(first + timedelta(seconds=60)) == "evidence#1"
    second = fail()
    assert ask(second + timedelta(seconds=119)) is None
    assert ask(second + timedelta(seconds=120)) == "evidence#2"
    instance.create_run_for_job(nothing, tags={"evidence": "evidence"})
    assert ask(second + timedelta(days=1)) is None, "one is at work"


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

    instance = dg.DagsterInstance.ephemeral()
    context = dg.build_sensor_context(instance, resources=resources, cursor=first.cursor)
    again = sensors.kafka_lag(context)
    assert isinstance(again, dg.SkipReason) and "requested before" in str(again.skip_message)

    run = instance.create_run_for_job(_named_land(), tags=request.tags)
    instance.report_run_failed(run)
    with patch.object(asking, "FIRST_PAUSE", timedelta(0)):
        retry = sensors.kafka_lag(context)
    assert isinstance(retry, dg.SensorResult)
    assert [item.run_key for item in retry.run_requests or []] == [f"{first.cursor}#1"]

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
