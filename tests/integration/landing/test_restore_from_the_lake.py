"""Postgres is lost: raw, ledger, positions and dead letters come back from the lake alone."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from landing_plant import LOGS, MAINTENANCE, SENSORS, STARTED_AT, Plant, log_line, reading

from orchestration.ingest.dead_letters import Selection, find
from orchestration.ingest.dead_letters import replay as replay_letters
from orchestration.ingest.key_backup import export_keys, import_keys
from orchestration.ingest.leases import acquire, topic_lease
from orchestration.ingest.ledger import Counts
from orchestration.ingest.offsets import LandingError
from orchestration.ingest.pii import original_of
from orchestration.ingest.pipeline import PipelineSettings
from orchestration.ingest.restore import restore
from orchestration.ingest.retention import Hold, expire_everywhere, holds, release_hold
from orchestration.migrations import upgrade

pytestmark = pytest.mark.integration

COMPARED = {
    "raw": "select {columns} from raw.{table} order by kafka_partition, kafka_offset, batch_id",
    "ledger": "select to_jsonb(l) - 'verified_at' from ops.landing_ledger as l where topic = %s "
    "order by batch_id",
    "positions": "select topic_id, kafka_partition, next_offset from ops.consumer_offsets where topic = %s "
    "and consumer = 'landing' and next_offset > 0 order by 1, 2",
    "dead letters": "select to_jsonb(d) from ops.dead_letters as d where topic = %s order by dead_letter_id",
    "plant clocks": "select to_jsonb(w) from ops.event_watermarks as w where topic = %s order by tenant_id, "
    "kafka_partition",
}


def _state(plant: Plant, base: str) -> dict[str, list[tuple[Any, ...]]]:
    contract = plant.contract(base)
    columns = ["batch_id", "topic_id", "kafka_partition", "kafka_offset", "known_at", "landed_at"]
    names = ", ".join(columns + [field.name for field in contract.fields])
    return {
        what: plant.query(
            statement.format(columns=names, table=contract.table),
            *([contract.topic] if "%s" in statement else []),
        )
        for what, statement in COMPARED.items()
    }


def _lose_postgres(plant: Plant) -> None:
    """Drop every schema of database and catalog, and migrate anew."""
    catalog = plant.services.catalog_uri.replace("postgresql+psycopg2", "postgresql")
    with psycopg.connect(catalog, autocommit=True) as connection:
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")
    with psycopg.connect(plant.services.database_url, autocommit=True) as connection:
        connection.execute("drop schema raw, ops, ml, rag, logs cascade")
        connection.execute("drop table alembic_version")
    upgrade(plant.services.database_url)


def test_everything_comes_back_and_landing_goes_on(plant: Plant) -> None:
    """Forbids a restore that loses a count, a dead letter, a replay or a position, or lands a row twice."""
    lines: list[bytes | None] = [json.dumps(log_line(number)).encode() for number in range(300)]
    lines[7] = lines[9] = json.dumps(log_line(7, level="LOUD")).encode()
    lines[11], lines[12] = b"{broken", None
    plant.produce(LOGS, lines)
    plant.land(LOGS, settings=PipelineSettings(batch_messages=40))
    level = plant.contract(LOGS).field("level")
    fields = tuple(
        replace(field, enum=(*level.enum, "LOUD")) if field.name == "level" else field
        for field in plant.contract(LOGS).fields
    )
    fixed = plant.with_contract(LOGS, fields=fields)
    with psycopg.connect(plant.services.database_url) as connection:
        seventh = next(item for item in find(connection, Selection()) if item.kafka_offset == 7)
    replay_letters(plant.services, fixed.contracts, Selection(ids=[seventh.dead_letter_id]))
    fixed.produce(LOGS, [json.dumps(log_line(300 + number)).encode() for number in range(50)])
    fixed.land(LOGS)
    plant.produce(LOGS, [b"{refused", b"{too"])  # ranges without a row: no snapshot goes as far as they do
    fixed.land(LOGS)
    plant.produce_readings(2_000)
    plant.land(settings=PipelineSettings(batch_messages=170))
    before = {base: _state(plant, base) for base in (LOGS, SENSORS)}

    _lose_postgres(plant)
    done = restore(plant.services, plant.contracts)

    assert {
        item.topic: (item.rows, item.dead_letters, item.without_ledger, item.was_unknown) for item in done
    } == {
        plant.topic(LOGS): (347, 5, 0, True),  # 350 lines, two refused, one tombstone
        plant.topic(SENSORS): (2_000, 0, 0, True),
    }
    for base in (LOGS, SENSORS):
        for what, rows in _state(plant, base).items():
            assert rows == before[base][what], (base, what)
        report = fixed.check(base)
        assert report.is_balanced, report.faults
    plant.produce_readings(400, start=2_000)
    assert plant.land().counts == Counts(landed=400)
    assert fixed.land(LOGS).counts == Counts()
    assert len(plant.lake_rows()) == 2_400
    again = replay_letters(plant.services, fixed.contracts, Selection(topic=plant.topic(LOGS)))
    assert (again.landed, len(again.refused)) == (1, 3)  # offset 9; its bytes came back as well
    report = plant.check()
    assert report.is_balanced, report.faults


def test_rows_that_only_kafka_has_come_from_there(plant: Plant) -> None:
    """Forbids positions beyond what the restore brought back: those messages would be skipped in silence."""
    plant.produce_readings(400)
    plant.land()
    plant.produce_readings(100, start=400)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "orchestration.ingest.lake_writer.LakeWriter.flush", lambda _: 0
        )  # the disaster is faster
        plant.land()

    _lose_postgres(plant)
    with pytest.raises(LandingError, match="opsgraph restore --from-lake"):
        plant.land()  # into an empty Postgres: everything would come twice, under other batches
    restore(plant.services, plant.contracts)

    assert plant.query("select count(*) from raw.equipment_sensors") == [(400,)]
    assert plant.land().counts == Counts(landed=100)
    assert plant.check().is_balanced


def test_without_a_journal_the_rows_come_back_and_the_loss_is_said(plant: Plant) -> None:
    """Forbids a restore that passes offsets off as accounted for when it can't know what they were."""
    plant.produce(SENSORS, [plant.datum(SENSORS, reading(0)), b"refused", plant.datum(SENSORS, reading(2))])
    plant.land()
    for path in (plant.lake_dir() / "journal").iterdir():
        path.unlink()

    _lose_postgres(plant)
    (done,) = restore(plant.services, plant.contracts)

    assert (done.rows, done.without_ledger, done.dead_letters) == (2, 1, 0)
    report = plant.check()
    assert report.is_balanced
    assert report.counts == Counts(landed=2, absent=1)
    assert "whatever they were" in str(report.faults[0])
    assert plant.land().counts == Counts()


def test_a_whole_ledger_is_not_overwritten_by_accident(plant: Plant) -> None:
    """Forbids a restore over a Postgres that is well and ahead of the lake."""
    plant.produce_readings(40)
    plant.land()
    before = _state(plant, SENSORS)
    with pytest.raises(LandingError, match="--replace"):
        restore(plant.services, plant.contracts, [plant.topic(SENSORS)])
    assert _state(plant, SENSORS) == before
    restore(plant.services, plant.contracts, [plant.topic(SENSORS)], is_replacing=True)
    assert _state(plant, SENSORS) == before


def test_keys_of_people_come_back_from_their_copy_only(plant: Plant, tmp_path: Path) -> None:
    """Forbids keys in the lake, tokens that change after a restore, and an erased person who comes back."""
    event = {"tenant_id": "demo-plant", "equipment_id": "CNC-A-101", "event_at": STARTED_AT}
    people = [{**event, "event_type": "maintenance", "technician_id": name} for name in ("T-17", "T-18")]
    plant.produce(MAINTENANCE, [plant.datum(MAINTENANCE, item) for item in people])
    plant.land(MAINTENANCE)
    copy = tmp_path / "keys.json"
    with psycopg.connect(plant.services.database_url) as connection:
        export_keys(connection, copy)
    tokens = plant.query("select technician_id from raw.maintenance_events order by kafka_offset")

    _lose_postgres(plant)
    restore(plant.services, plant.contracts)

    with psycopg.connect(plant.services.database_url) as connection:
        assert original_of(connection, "demo-plant", tokens[0][0], "technician_id") is None
        connection.execute(
            "insert into ops.erasures (tenant_id, subject_token, requested_by, reason, proof) "
            "values ('demo-plant', %s, 'a', 'b', '{}')",
            tokens[1],
        )
        assert import_keys(connection, copy) == 2  # the tenant's own key and T-17's
        assert original_of(connection, "demo-plant", tokens[0][0], "technician_id") == "T-17"
        assert original_of(connection, "demo-plant", tokens[1][0], "technician_id") is None
    assert copy.stat().st_mode & 0o077 == 0
    plant.produce(MAINTENANCE, [plant.datum(MAINTENANCE, people[0])])
    plant.land(MAINTENANCE)
    last = plant.query("select technician_id from raw.maintenance_events order by kafka_offset desc limit 1")
    assert last == [tokens[0]]


def test_what_is_landed_between_two_restores_takes_no_number_of_the_second(plant: Plant) -> None:
    """Forbids a topic that can never be restored, since landing took its batches' and letters' numbers."""
    plant.produce(SENSORS, [plant.datum(SENSORS, reading(0)), b"refused"])
    plant.land()
    lines = [json.dumps(log_line(number)).encode() for number in range(40)]
    plant.produce(LOGS, [*lines, b"{refused"])
    plant.land(LOGS)  # its numbers come after those of the sensors
    before = _state(plant, LOGS)

    _lose_postgres(plant)
    event = {"tenant_id": "demo-plant", "equipment_id": "CNC-A-101", "event_at": STARTED_AT}
    event = plant.datum(MAINTENANCE, {**event, "event_type": "maintenance"})
    plant.produce(MAINTENANCE, [event, b"refused"])
    plant.land(MAINTENANCE)  # new to the lake, so nobody refuses it
    restore(plant.services, plant.contracts, [plant.topic(SENSORS)])
    plant.produce(SENSORS, [plant.datum(SENSORS, reading(1)), b"refused too"])
    assert plant.land().counts == Counts(landed=1, dead_lettered=1)
    restore(plant.services, plant.contracts, [plant.topic(LOGS)])

    for what, rows in _state(plant, LOGS).items():
        assert rows == before[what], what
    for base in (SENSORS, LOGS, MAINTENANCE):
        report = plant.check(base)
        assert report.is_balanced, report.faults


def test_numbers_that_are_taken_are_said_and_nothing_is_changed(plant: Plant) -> None:
    """Forbids a traceback of the database in place of what to do."""
    plant.produce_readings(40)
    plant.land()
    _lose_postgres(plant)
    plant.query(
        "insert into ops.landing_ledger (batch_id, topic, topic_id, kafka_partition, offset_lo, offset_hi, "
        "landed, landed_at) select n, 'other', gen_random_uuid(), 0, 0, 1, 1, now() "
        "from generate_series(1, 50) as n returning 1"
    )
    with pytest.raises(LandingError, match=r"equipment-sensors.*number.*nothing of it was changed"):
        restore(plant.services, plant.contracts)
    assert plant.row_count() == 0


def test_nothing_is_restored_while_one_of_the_topics_is_landed(plant: Plant) -> None:
    """Forbids a restore that stops half-way: either all topics are its own, or none is touched."""
    plant.produce_readings(40)
    plant.land()
    plant.produce(LOGS, [json.dumps(log_line(0)).encode()])
    plant.land(LOGS)
    _lose_postgres(plant)
    for held in (SENSORS, LOGS):
        lease = acquire(plant.services.database_url, topic_lease(plant.topic(held)), "a lander")
        assert lease is not None
        with lease, pytest.raises(LandingError, match=f"{plant.topic(held)}: somebody lands it"):
            restore(plant.services, plant.contracts, [plant.topic(SENSORS), plant.topic(LOGS)])
        assert plant.query("select count(*) from ops.landing_ledger") == [(0,)]


def test_after_a_restore_nothing_expires_until_the_holds_were_looked_at(plant: Plant) -> None:
    """Forbids care that deletes what was held: the lake does not know the holds of the lost Postgres."""
    plant.produce(SENSORS, [plant.datum(SENSORS, reading(0)), b"refused"])
    plant.land()
    _lose_postgres(plant)
    restore(plant.services, plant.contracts)
    (hold,) = _holds(plant)
    assert hold.tenant_id is None
    assert "opsgraph hold release" in hold.reason

    def expire() -> int:
        done = expire_everywhere(plant.services, plant.contracts.values(), timedelta(0), is_dry_run=False)
        return len(done.ids)

    assert expire() == 0
    with psycopg.connect(plant.services.database_url) as connection:
        release_hold(connection, hold.hold_id)
    restore(plant.services, plant.contracts, is_replacing=True)  # this Postgres knows its holds
    assert _holds(plant) == []
    assert expire() == 1


def _holds(plant: Plant) -> list[Hold]:
    with psycopg.connect(plant.services.database_url) as connection:
        return holds(connection)
