"""Care of the lake changes files, never rows or positions."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest
from landing_plant import LOGS, SENSORS, Plant

from orchestration.ingest import lake_upkeep
from orchestration.ingest.contracts import arrow_schema
from orchestration.ingest.lake import NAMESPACE, Lake, iceberg_schema, position_of
from orchestration.ingest.lake_upkeep import MAX_FILES_PER_DAY, keep_up

if TYPE_CHECKING:
    from pyiceberg.table import Table

pytestmark = pytest.mark.integration
LATER = datetime.now(UTC) + timedelta(days=30)
FLUSHES = MAX_FILES_PER_DAY + 1


def land_in_many_files(plant: Plant) -> None:
    """Each landing run ends with a flush, so each leaves a file."""
    for number in range(FLUSHES):
        plant.produce_readings(8, start=number * 8)
        plant.land()


def test_a_day_of_many_files_becomes_one_sorted_file_with_the_same_rows(plant: Plant) -> None:
    """Forbids a compaction that loses rows, forgets the offsets, or leaves the old files behind."""
    land_in_many_files(plant)
    lake = Lake(plant.services.lake_url, plant.services.catalog_uri)
    table = lake.existing_table(plant.contract(SENSORS))
    assert table is not None
    position, rows = position_of(table), plant.lake_rows()
    files = len(table.inspect.files())

    (done,) = keep_up(plant.services, plant.contracts, [plant.topic(SENSORS)], now=LATER)
    table.refresh()

    assert (done.files_before, done.files_after, len(done.days)) == (files, 1, 1)
    assert files >= FLUSHES
    assert done.expired > 0
    assert position_of(table) == position
    by_offset = sorted(plant.lake_rows(), key=lambda row: (row["kafka_partition"], row["kafka_offset"]))
    assert by_offset == sorted(rows, key=lambda row: (row["kafka_partition"], row["kafka_offset"]))
    frame = pl.scan_iceberg(table).collect()
    assert frame.height == FLUSHES * 8
    assert frame.select("equipment_id", "event_at").equals(
        frame.select("equipment_id", "event_at").sort("equipment_id", "event_at")
    )
    assert table.scan().to_duckdb("readings").sql("select count(*) from readings").fetchall() == [(72,)]
    data = list((plant.lake_dir(SENSORS) / "data").rglob("*.parquet"))
    assert len(data) == 1

    plant.produce_readings(8, start=1000)
    plant.land()

    assert len(plant.lake_rows()) == FLUSHES * 8 + 8
    assert plant.check().is_balanced


def test_the_metadata_names_the_order_that_rewritten_files_follow(plant: Plant) -> None:
    """Forbids an order that no other engine can see, one that files do not keep, and rewriting to name it."""
    land_in_many_files(plant)
    lake = Lake(plant.services.lake_url, plant.services.catalog_uri)
    older = plant.contract(LOGS)  # a table from before the order had a name
    lake._catalog.create_table((NAMESPACE, older.table), iceberg_schema(arrow_schema(older)))

    assert _order(lake.table(older)) == ["event_at", "kafka_offset"]
    names = ["tenant_id", "equipment_id", "event_at", "kafka_offset"]
    assert _order(lake.table(plant.contract(SENSORS))) == names
    keep_up(plant.services, plant.contracts, [plant.topic(SENSORS)], now=LATER)
    (path,) = (plant.lake_dir(SENSORS) / "data").rglob("*.parquet")
    rows = pl.read_parquet(path)
    assert rows.height == FLUSHES * 8
    assert rows.equals(rows.sort(names))
    assert plant.check().is_balanced


def _order(table: "Table") -> list[str]:
    return [table.schema().find_column_name(item.source_id) or "" for item in table.sort_order().fields]


def test_a_lander_that_commits_meanwhile_wins(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a compaction that deletes rows which arrived while it read."""
    land_in_many_files(plant)
    runs = lake_upkeep._sorted_runs

    def land_in_between(*arguments: object) -> object:
        yield from runs(*arguments)  # type: ignore[arg-type]
        plant.produce_readings(8, start=1000)
        plant.land()

    monkeypatch.setattr(lake_upkeep, "_sorted_runs", land_in_between)

    (done,) = keep_up(plant.services, plant.contracts, [plant.topic(SENSORS)], now=LATER)

    assert "a lander committed" in done.skipped
    assert len(plant.lake_rows()) == FLUSHES * 8 + 8
    assert plant.check().is_balanced
