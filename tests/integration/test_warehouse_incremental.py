"""Incremental models take every batch once, whatever order batches and copies arrive in."""

from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
import pytest
from landed_rows import LANDED_AT, land
from polars.testing import assert_frame_equal
from warehouse_project import Warehouse

from orchestration.dbt_invocation import build_arguments
from orchestration.ingest.contracts import ensure_day_partition

pytestmark = pytest.mark.integration

START = datetime(2026, 10, 1, tzinfo=UTC)
READINGS = ["+int_equipment_metrics_hourly"]
KEPT = "intermediate.int_sensor_readings_deduplicated"
HOURLY = "intermediate.int_equipment_metrics_hourly"
COPIES = f"select kafka_offset, copy_count, temperature_c from {KEPT}"


def readings(hours: list[float], temperature: float = 60.0, known_at: datetime | None = None) -> pl.DataFrame:
    """Readings of one machine at hours after START."""
    instants = [START + timedelta(hours=hour) for hour in hours]
    frame = pl.DataFrame(
        {
            "tenant_id": "demo-plant",
            "equipment_id": "CNC-A-101",
            "event_at": instants,
            "temperature_c": temperature,
            "known_at": [known_at or instant for instant in instants],
        }
    )
    return frame.with_columns(pl.col("event_at", "known_at").dt.cast_time_unit("us"))


def land_batch(warehouse: Warehouse, rows: pl.DataFrame, batch_id: int | None = None) -> int:
    with psycopg.connect(warehouse.url) as connection:
        return land(connection, "equipment_sensors", rows, batch_id=batch_id)


def test_slower_lander_loses_nothing(warehouse: Warehouse) -> None:
    """Forbids picking rows above a highest batch or time: batch 5 commits after batch 6 was built in."""
    land_batch(warehouse, readings([1, 2]), batch_id=6)
    warehouse.build(READINGS)

    with psycopg.connect(warehouse.url) as connection:
        land(connection, "equipment_sensors", readings([3]), LANDED_AT - timedelta(days=1), batch_id=5)
    warehouse.build(READINGS)

    hours = warehouse.rows(f"select hour_at from {HOURLY} order by 1")
    assert hours["hour_at"].to_list() == [START + timedelta(hours=h) for h in (1, 2, 3)]


def test_batch_of_duplicates_is_counted_once(warehouse: Warehouse) -> None:
    """Forbids losing or counting twice a batch that holds nothing new.

    One reading, then a batch with two copies of it, then two builds without anything new: 3 copies.
    """
    land_batch(warehouse, readings([1], temperature=60))
    warehouse.build(READINGS)
    copies = pl.concat([readings([1], temperature=61, known_at=LANDED_AT)] * 2)
    land_batch(warehouse, copies)
    for _ in range(3):
        warehouse.build(READINGS)

    assert warehouse.rows(COPIES).rows() == [(0, 3, 60.0)]


def test_copy_known_earlier_takes_the_place(warehouse: Warehouse) -> None:
    """Forbids that the order of landing decides: a copy that was known earlier lands in a later batch.

    Its value 70 replaces 60, and the hour's mean follows.
    """
    land_batch(warehouse, readings([1], temperature=60, known_at=START + timedelta(hours=5)))
    warehouse.build(READINGS)
    land_batch(warehouse, readings([1], temperature=70, known_at=START + timedelta(hours=2)))
    warehouse.build(READINGS)

    assert warehouse.rows(COPIES).rows() == [(1, 2, 70.0)]
    mean = warehouse.scalar(f"select temperature_c_mean from {HOURLY}")
    assert mean == 70.0


def test_late_reading_changes_its_own_hour_only(warehouse: Warehouse) -> None:
    """Forbids a look-back window that misses old hours, or that rewrites hours without new readings.

    A reading of hour 2 lands ten days late: mean (60 + 80) / 2 = 70, lateness 10 d = 864000 s.
    """
    land_batch(warehouse, readings([1, 2, 3]))
    warehouse.build(READINGS)
    before = f"select hour_at, xmin::text from {HOURLY} order by 1"
    versions = dict(warehouse.rows(before).rows())
    late_at = START + timedelta(hours=1.5)
    land_batch(warehouse, readings([1.5], temperature=80, known_at=late_at + timedelta(days=10)))
    warehouse.build(READINGS)

    rewritten = {hour for hour, version in warehouse.rows(before).rows() if versions.get(hour) != version}
    assert rewritten == {START + timedelta(hours=2)}
    hour = warehouse.rows(
        f"select reading_count, temperature_c_mean, max_lateness_s from {HOURLY}"
        f" where hour_at = '{START + timedelta(hours=2)}'"
    )
    assert hour.rows() == [(2, 70.0, 864000.0)]


def test_failed_build_keeps_the_batch_for_the_next(warehouse: Warehouse) -> None:
    """Forbids remembering a batch whose rows were rolled back: the memory is in the rows' transaction."""
    land_batch(warehouse, readings([1]))
    warehouse.build(READINGS)
    land_batch(warehouse, readings([2]))
    with psycopg.connect(warehouse.url) as connection:
        first_hour = START + timedelta(hours=1)
        connection.execute(f"alter table {KEPT} add constraint no_more check (event_at <= '{first_hour}')")
    failures = warehouse.dbt(build_arguments(READINGS))
    assert failures[0].startswith("int_sensor_readings_deduplicated")
    with psycopg.connect(warehouse.url) as connection:
        connection.execute(f"alter table {KEPT} drop constraint no_more")
    warehouse.build(READINGS)

    assert warehouse.scalar(f"select sum(copy_count) from {KEPT}") == 2
    assert warehouse.scalar(f"select sum(reading_count) from {HOURLY}") == 2


def test_many_small_builds_equal_one_full_build(warehouse: Warehouse) -> None:
    """Forbids an incremental state that a build from nothing would not give.

    Four batches with copies of each other, out of order, built one by one, then --full-refresh.
    """
    batches = [
        readings([1, 1.2, 2.7], temperature=60),
        readings([2.7, 0.3], temperature=61, known_at=LANDED_AT),
        readings([1.2, 5], temperature=62, known_at=START),
        readings([5, 5, 5], temperature=63),
    ]
    for batch in batches:
        land_batch(warehouse, batch)
        warehouse.build(READINGS)
    order = "tenant_id, equipment_id"
    hourly = warehouse.model("intermediate", "int_equipment_metrics_hourly", f"{order}, hour_at")
    kept = warehouse.model("intermediate", "int_sensor_readings_deduplicated", f"{order}, event_at")
    warehouse.build(READINGS, full_refresh=True)

    again = warehouse.model("intermediate", "int_equipment_metrics_hourly", f"{order}, hour_at")
    assert_frame_equal(again, hourly, check_exact=False, rel_tol=1e-12)
    assert_frame_equal(
        warehouse.model("intermediate", "int_sensor_readings_deduplicated", f"{order}, event_at"), kept
    )
    # 10 rows landed; keys at hours 0.3, 1, 1.2, 2.7 and 5 are kept.
    assert (kept.height, int(kept["copy_count"].sum())) == (5, 10)


def test_a_message_landed_again_counts_in_its_newest_version(warehouse: Warehouse) -> None:
    """Forbids that a corrected row loses against the one that it corrects.

    The reading of hour 1 is landed again with 75 instead of 60: the hour's mean becomes 75, the copies of the
    key are two, and a build as of the day before sees 60.
    """
    land_batch(warehouse, readings([1, 2], temperature=60), batch_id=11)
    warehouse.build(READINGS)
    corrected_at = LANDED_AT + timedelta(days=3)
    with psycopg.connect(warehouse.url) as connection:
        ensure_day_partition(connection, "equipment_sensors", corrected_at.date())
        connection.execute(
            """
            insert into raw.equipment_sensors
            select (jsonb_populate_record(r, jsonb_build_object('batch_id', 12, 'temperature_c', 75,
                'known_at', %(at)s::timestamptz, 'landed_at', %(at)s::timestamptz))).*
            from raw.equipment_sensors as r where kafka_offset = 0
            """,
            {"at": corrected_at},
        )
        connection.execute(
            """
            insert into ops.landing_ledger (batch_id, topic, topic_id, kafka_partition, offset_lo, offset_hi,
                landed, superseded, landed_at)
            select 12, topic, topic_id, 0, 0, 0, 1, -1, %s from ops.landing_ledger where batch_id = 11
            """,
            (corrected_at,),
        )
    warehouse.build(READINGS)

    kept = [(0, 2, 75.0), (1, 1, 60.0)]
    assert sorted(warehouse.rows(COPIES).rows()) == kept
    means = f"select temperature_c_mean from {HOURLY} order by hour_at"
    assert warehouse.rows(means).to_series().to_list() == [75.0, 60.0]
    warehouse.build(READINGS, full_refresh=True)
    assert sorted(warehouse.rows(COPIES).rows()) == kept


def test_days_that_left_raw_are_counted_on(warehouse: Warehouse) -> None:
    """Forbids a check that fails when a day leaves raw, and one that passes when a full refresh missed it."""
    old = land_batch(warehouse, readings([1, 2, 2]))
    warehouse.build(READINGS)
    land_batch(warehouse, readings([3]))
    with psycopg.connect(warehouse.url) as connection:
        connection.execute("delete from raw.equipment_sensors where batch_id = %s", (old,))
        connection.execute("update ops.landing_ledger set retired_at = now() where batch_id = %s", (old,))
    warehouse.build(READINGS)

    check = build_arguments(["test_name:landed_rows_are_kept_or_counted,int_sensor_readings_deduplicated+"])
    assert warehouse.dbt(check) == []
    assert warehouse.scalar(f"select sum(copy_count) from {KEPT}") == 4
    warehouse.build(READINGS, full_refresh=True)
    assert len(warehouse.dbt(check)) == 1
