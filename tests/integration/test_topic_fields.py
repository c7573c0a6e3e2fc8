"""Fields that vanish or appear are seen, machine by machine."""

from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
import pytest
from landed_rows import TABLES, land

from orchestration.ingest import topic_fields
from orchestration.ingest.topic_fields import changed_fields

pytestmark = pytest.mark.integration
START = datetime(2026, 10, 1, tzinfo=UTC)
CONTRACT = TABLES["equipment_sensors"]


def rows(machine: str, count: int = 100, **fields: float | None) -> pl.DataFrame:
    """Readings of one machine, one a second."""
    instants = [START + timedelta(seconds=number) for number in range(count)]
    frame = pl.DataFrame({"event_at": instants}).with_columns(pl.col("event_at").dt.cast_time_unit("us"))
    return frame.with_columns(
        pl.lit("demo-plant").alias("tenant_id"),
        pl.lit(machine).alias("equipment_id"),
        *(pl.lit(value, pl.Float64).alias(name) for name, value in fields.items()),
    )


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_fields, "NEWEST_ROWS", 150)


def changes(database_url: str, *batches: pl.DataFrame) -> list[str]:
    """What is said after these batches were landed; the last two are the newest rows."""
    with psycopg.connect(database_url) as connection:
        for number, batch in enumerate(batches, start=1):
            land(connection, "equipment_sensors", batch, batch_id=number)
        return [str(item) for item in changed_fields(connection, CONTRACT)]


def test_a_field_that_a_machine_no_longer_sends_is_named(database_url: str) -> None:
    """Forbids a renamed field at the source that nobody notices, since nulls are valid."""
    said = changes(
        database_url,
        rows("CNC-A-101", temperature_c=50.0, vibration_mm_s=2.0), rows("PRS-B-201", pressure_bar=180.0),
        rows("CNC-A-101", temperature_c=50.0), rows("PRS-B-201", pressure_bar=180.0, power_kw=3.0),
    )  # fmt: skip
    assert said == [
        "vibration_mm_s has vanished: none of some 100 values came",
        "power_kw is new: 100 values, and none before",
    ]


def test_other_machines_with_other_fields_are_no_change(database_url: str) -> None:
    """Forbids an alarm whenever the newest batch holds another partition's machines."""
    assert changes(
        database_url,
        rows("CNC-A-101", vibration_mm_s=2.0), rows("PRS-B-201", pressure_bar=180.0),
        rows("PRS-B-201", pressure_bar=180.0), rows("PMP-D-401", power_kw=4.0),
    ) == []  # fmt: skip


def test_a_rare_field_may_be_missing(database_url: str) -> None:
    """Forbids an alarm over a field of which few values were to be expected."""
    rare = pl.concat([rows("CNC-A-101", 90, power_kw=None), rows("CNC-A-101", 10, power_kw=3.0)])
    plain = rows("CNC-A-101", power_kw=None)
    assert changes(database_url, rare, plain, rows("CNC-A-101", 60, power_kw=None), plain) == []
