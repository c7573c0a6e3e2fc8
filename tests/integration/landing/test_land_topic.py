"""Landing a topic: counts equal everywhere, nothing twice, the lake as Postgres."""

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from landing_plant import (
    LOGS,
    MAINTENANCE,
    SENSORS,
    STARTED_AT,
    Plant,
    log_line,
    reading,
)

from orchestration.ingest.contracts import ContractField
from orchestration.ingest.landing import LandingError
from orchestration.ingest.ledger import Counts
from orchestration.ingest.pipeline import PipelineSettings

pytestmark = pytest.mark.integration


def test_counts_are_equal_everywhere_and_a_second_landing_adds_nothing(plant: Plant) -> None:
    """Forbids a lander that loses or repeats messages between broker, ledger, raw table and lake."""
    plant.produce_readings(10_000)

    first = plant.land(settings=PipelineSettings(batch_messages=700))  # 2,500 per partition: several batches
    second = plant.land()

    assert first.counts == Counts(landed=10_000)
    assert (second.counts, second.batch_ids, second.lag) == (Counts(), (), 0)
    report = plant.check()
    assert report.is_balanced, report.faults
    assert [(b.offsets.lo, b.offsets.hi, b.raw_rows, b.lake_rows, b.pending) for b in report.balances] == [
        (0, 2_500, 2_500, 2_500, 0)
    ] * 4


def test_raw_and_lake_hold_the_same_rows(plant: Plant) -> None:
    """Forbids a lake that differs from Postgres in a value, a batch id or a time."""
    plant.produce_readings(400)
    plant.land()
    plant.produce_readings(100, start=400)
    plant.land()

    columns = [field.name for field in plant.contract(SENSORS).fields]
    system = ["batch_id", "topic_id", "kafka_partition", "kafka_offset", "known_at", "landed_at"]
    names = system + columns
    in_postgres = plant.query(f"select {', '.join(names)} from raw.equipment_sensors")
    in_lake = [
        tuple(bytes(row[n]) if n == "topic_id" else row[n] for n in names) for row in plant.lake_rows()
    ]
    assert len(in_lake) == 500
    assert sorted(in_lake, key=str) == sorted(
        ((*row[:1], row[1].bytes, *row[2:]) for row in in_postgres), key=str
    )


def test_values_arrive_as_they_were_sent(plant: Plant) -> None:
    """Forbids columns that are swapped, shifted or rounded on the way."""
    plant.produce(SENSORS, [plant.datum(SENSORS, reading(number)) for number in range(50)])
    plant.land()
    rows = plant.query(
        "select kafka_offset, equipment_id, event_at, temperature_c, vibration_mm_s, rotation_rpm, volt "
        "from raw.equipment_sensors order by kafka_offset"
    )
    assert rows == [
        (
            number, f"CNC-A-{101 + number % 6}", STARTED_AT + timedelta(seconds=number),
            40.0 + number, None if number % 5 == 0 else 2.5, float(number), None,
        )
        for number in range(50)
    ]  # fmt: skip


def test_known_time_is_the_header_or_the_landing(plant: Plant) -> None:
    """Forbids a replay of 2015 that looks as if its data had been known only today."""
    payload = plant.datum(SENSORS, reading(0))
    plant.produce(SENSORS, [payload], headers=[("known_at", b"2026-01-05T06:00:30+00:00")])
    plant.produce(SENSORS, [payload], headers=[("trace", b"x"), ("known_at", b"2026-01-05T07:01:00+01:00")])
    plant.produce(SENSORS, [payload])
    plant.land()
    rows = plant.query(
        "select known_at, known_at = landed_at from raw.equipment_sensors order by kafka_offset"
    )
    assert rows[0] == (datetime(2026, 1, 5, 6, 0, 30, tzinfo=UTC), False)
    assert rows[1] == (datetime(2026, 1, 5, 6, 1, tzinfo=UTC), False)
    assert rows[2][1] is True


def test_plant_clock_is_the_highest_event_time(plant: Plant) -> None:
    """Forbids a plant clock that goes back when older data arrive, or that mixes tenants."""
    plant.produce(SENSORS, [plant.datum(SENSORS, reading(900))])
    plant.produce(SENSORS, [plant.datum(SENSORS, reading(30, tenant_id="other"))])
    plant.land()
    plant.produce(SENSORS, [plant.datum(SENSORS, reading(10))])
    plant.land()
    assert dict(plant.query("select tenant_id, plant_now_at from ops.plant_clock")) == {
        "demo-plant": STARTED_AT + timedelta(seconds=900),
        "other": STARTED_AT + timedelta(seconds=30),
    }


def test_json_topic_lands(plant: Plant) -> None:
    """Forbids a JSON path that drops fields, unknown keys' rows, or instants with another offset."""
    lines = [log_line(number) for number in range(200)]
    lines[7] = log_line(
        7, event_at="2026-01-05T08:00:07+02:00", response_time_ms=12, host="not in the contract"
    )
    plant.produce(LOGS, [json.dumps(line).encode() for line in lines])
    report = plant.land(LOGS)
    assert report.counts == Counts(landed=200)
    row = plant.query("select event_at, response_time_ms, message from raw.raw_logs where kafka_offset = 7")
    assert row == [(STARTED_AT + timedelta(seconds=7), 12.0, "cycle 7 finished")]
    assert plant.check(LOGS).is_balanced


def test_personal_values_never_reach_raw_or_lake(plant: Plant) -> None:
    """Forbids a technician's id in any table; the vault alone can tell it, until its key is deleted."""
    from orchestration.ingest.pii import original_of

    event = {"tenant_id": "demo-plant", "equipment_id": "CNC-A-101", "event_at": STARTED_AT}
    events = [
        {**event, "event_type": "maintenance", "technician_id": name}
        for name in ("T-17", "T-18", "T-17", None)
    ]
    plant.produce(MAINTENANCE, [plant.datum(MAINTENANCE, item) for item in events])
    plant.land(MAINTENANCE)

    tokens = [
        row[0]
        for row in plant.query("select technician_id from raw.maintenance_events order by kafka_offset")
    ]
    assert tokens[0] == tokens[2] != tokens[1]
    assert tokens[3] is None
    assert all(token.startswith("pii_") for token in tokens[:3])
    assert sorted(row["technician_id"] or "" for row in plant.lake_rows(MAINTENANCE)) == sorted(
        token or "" for token in tokens
    )
    with psycopg.connect(plant.services.database_url) as connection:
        assert original_of(connection, "demo-plant", tokens[0], "technician_id") == "T-17"
        connection.execute("delete from ops.pii_keys where subject_token = %s", (tokens[0],))
        assert original_of(connection, "demo-plant", tokens[0], "technician_id") is None


def test_landing_an_unknown_topic_names_the_known_ones(plant: Plant) -> None:
    """Forbids a misspelt topic that looks like one with nothing to do."""
    with pytest.raises(LandingError, match=plant.topic(SENSORS)):
        plant.land("equipment-sensor")


def test_a_new_field_reaches_a_lake_table_that_has_rows(plant: Plant) -> None:
    """Forbids a contract that grew and a lake table that did not, or rows that can't be read any more."""
    plant.produce(SENSORS, [plant.datum(SENSORS, reading(number)) for number in range(3)])
    plant.land()
    new = ContractField("oil_ppm", "double", is_required=False, description="Iron particles in the oil.")
    grown = plant.with_contract(SENSORS, fields=(*plant.contract(SENSORS).fields, new))
    with psycopg.connect(plant.services.database_url) as connection:
        connection.execute("alter table raw.equipment_sensors add column oil_ppm double precision")
    plant.produce(SENSORS, [plant.datum(SENSORS, reading(number)) for number in range(3, 5)])

    grown.land()

    rows = grown.lake_rows()
    assert sorted(row["kafka_offset"] for row in rows) == [0, 1, 2, 3, 4]
    assert {row["oil_ppm"] for row in rows} == {None}
    assert grown.check().is_balanced
