"""Landing a range or a window again gives the same result, and repairs what is not."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from landing_plant import LOGS, SENSORS, Plant, log_line

from orchestration.ingest.contracts import ContractField
from orchestration.ingest.ledger import Counts
from orchestration.ingest.offsets import LandingError, Range
from orchestration.ingest.pipeline import PipelineSettings
from orchestration.ingest.reland import RelandReport, Window, reland
from orchestration.ingest.reland_sources import Source

pytestmark = pytest.mark.integration

SMALL = PipelineSettings(batch_messages=100)
ROWS = "select to_jsonb(r) from raw.equipment_sensors as r order by kafka_partition, kafka_offset, batch_id"


def _again(plant: Plant, base: str = SENSORS, **window: Any) -> RelandReport:
    return reland(plant.services, plant.contracts, Window(plant.topic(base), **window))


def _do(plant: Plant, statement: str, *parameters: Any) -> None:
    with psycopg.connect(plant.services.database_url) as connection:
        connection.execute(statement, parameters or None)


def test_what_is_well_stays_as_it_is(plant: Plant) -> None:
    """Forbids a re-landing that repeats rows, gives them new times, or moves a position."""
    plant.produce_readings(1_000)
    plant.land(settings=SMALL)
    rows, ledger = plant.query(ROWS), plant.query("select count(*) from ops.landing_ledger")

    by_offset = _again(plant, partition=1, offsets=Range(120, 130))
    everything = _again(plant)

    # Partition 1 holds offsets 0 to 249 in batches of about 100; those with 120 to 129 are taken whole.
    assert by_offset.restored == by_offset.corrected == 0 < by_offset.unchanged <= 250
    assert (everything.unchanged, everything.restored, everything.corrected) == (1_000, 0, 0)
    assert plant.query(ROWS) == rows
    assert plant.query("select count(*) from ops.landing_ledger") == ledger
    assert plant.land().counts == Counts()


@pytest.mark.parametrize("source", [None, Source.LAKE])
def test_lost_and_repeated_rows_are_put_right_under_their_own_batch(
    plant: Plant, source: Source | None
) -> None:
    """Forbids a repair that gives a row another batch or known time: as-of builds would change."""
    plant.produce_readings(800)
    plant.land(settings=SMALL)
    rows = plant.query(ROWS)
    _do(
        plant,
        "delete from raw.equipment_sensors where kafka_partition = 0 and kafka_offset between 20 and 29",
    )
    _do(
        plant, "insert into raw.equipment_sensors select * from raw.equipment_sensors where kafka_offset = 50"
    )
    assert not plant.check().is_balanced

    report = _again(plant, source=source)

    assert (report.restored, report.removed, report.corrected) == (10, 4, 0)
    assert report.unreachable == []
    assert plant.query(ROWS) == rows
    assert plant.check().is_balanced


def test_the_lake_stands_in_where_retention_has_passed_kafka(plant: Plant) -> None:
    """Forbids a re-landing that ends with Kafka's retention, or that mixes up which source gave what."""
    plant.produce_readings(800)
    plant.land(until={0: 160, 1: 0, 2: 0, 3: 0})
    plant.land()
    rows = plant.query(ROWS)
    admin = AdminClient({"bootstrap.servers": plant.services.bootstrap_servers})
    for future in admin.delete_records([TopicPartition(plant.topic(SENSORS), 0, 150)]).values():
        future.result(10)
    _do(plant, "delete from raw.equipment_sensors where kafka_partition = 0")

    report = _again(plant, partition=0, offsets=Range(0, 200))

    assert report.restored == 200
    assert set(report.batches) == {Source.KAFKA, Source.LAKE}
    assert plant.query(ROWS) == rows
    assert plant.check().is_balanced
    with pytest.raises(LandingError, match="nothing was landed"):
        _again(plant, partition=0, offsets=Range(200, 300))


def test_without_lake_kafka_gives_the_same_rows(plant: Plant) -> None:
    """Forbids a repair that needs the lake, or that takes dead letters of the range for rows."""
    lines: list[bytes | None] = [json.dumps(log_line(number)).encode() for number in range(50)]
    lines[7], lines[8] = b"{refused", None
    plant.produce(LOGS, lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.ingest.lake_writer.LakeWriter.flush", lambda _: 0)
        plant.land(LOGS)
    rows = plant.query("select to_jsonb(r) from raw.raw_logs as r order by kafka_offset")
    _do(plant, "delete from raw.raw_logs where kafka_offset < 20")
    _do(plant, "delete from ops.dead_letters")

    report = _again(plant, LOGS)

    assert (report.restored, report.unchanged) == (18, 30)
    assert plant.query("select to_jsonb(r) from raw.raw_logs as r order by kafka_offset") == rows
    assert list(plant.dead_letters()) == [7]
    plant.land(LOGS)
    assert plant.check(LOGS).is_balanced


def test_what_the_contract_reads_otherwise_becomes_a_newer_version(plant: Plant) -> None:
    """Forbids a correction that rewrites what was known, or a ledger that counts both as messages."""
    lines = [
        json.dumps(log_line(number, **({"host": "edge-1"} if number < 3 else {}))).encode()
        for number in range(10)
    ]
    lines[5] = json.dumps(log_line(5, level="LOUD")).encode()
    plant.produce(LOGS, lines)
    plant.land(LOGS)
    _do(plant, "alter table raw.raw_logs add column host text")
    level = plant.contract(LOGS).field("level")
    host = ContractField("host", "string", is_required=False, description="Machine that wrote the line.")
    fields = tuple(
        replace(field, enum=(*level.enum, "LOUD")) if field.name == "level" else field
        for field in plant.contract(LOGS).fields
    )
    fixed = plant.with_contract(LOGS, fields=(*fields, host))

    report = _again(fixed, LOGS)
    second = _again(fixed, LOGS)

    assert (report.corrected, report.replayed, report.brought, report.kept) == (3, 1, 0, 0)
    assert (second.corrected, second.replayed, second.restored) == (0, 0, 0)
    versions = plant.query(
        "select kafka_offset, host, known_at = landed_at, known_at - min(known_at) over () from raw.raw_logs "
        "where kafka_offset < 3 order by kafka_offset, batch_id"
    )
    assert [row[:2] for row in versions] == [
        (0, None),
        (0, "edge-1"),
        (1, None),
        (1, "edge-1"),
        (2, None),
        (2, "edge-1"),
    ]
    assert all(row[3] > timedelta(0) for row in versions if row[1])
    fixed.land(LOGS)
    balance = fixed.check(LOGS)
    assert balance.is_balanced, balance.faults
    # Ten messages, all rows by now, three of them twice.
    assert balance.counts == Counts(landed=13, superseded=-3)
    assert sorted(row["host"] or "" for row in fixed.lake_rows(LOGS)) == [""] * 10 + ["edge-1"] * 3


def test_a_window_of_landing_time_takes_its_batches_only(plant: Plant) -> None:
    """Forbids a window that takes what was landed outside of it."""
    plant.produce_readings(100)
    plant.land()
    ((border,),) = plant.query("select max(landed_at) + interval '1 microsecond' from ops.landing_ledger")
    plant.produce_readings(40, start=100)
    plant.land()
    assert _again(plant, until=border).unchanged == 100
    assert _again(plant, since=border).unchanged == 40
