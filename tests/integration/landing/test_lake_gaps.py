"""What the lake was never given it reads back from Postgres: no gap stays, whoever skipped what."""

from dataclasses import replace
from errno import ENOSPC
from typing import Any

import pytest
from landing_plant import SENSORS, Plant, reading, running_service, wait_until

from orchestration.ingest.batch import Batch
from orchestration.ingest.lake import Lake
from orchestration.ingest.lake_writer import FlushSettings, LakeBehindError, LakeWriter
from orchestration.ingest.landing_service import FRESH
from orchestration.ingest.pipeline import LandingPipeline, PipelineSettings, _LakeTables

pytestmark = pytest.mark.integration

SOON = replace(FRESH, lake_flush=FlushSettings(age_s=0.2))


def _committed(plant: Plant, readings: int, start: int = 0) -> list[Batch]:
    """Batches of partition 0 that Postgres has and no lake writer was given."""
    messages = [plant.datum(SENSORS, reading(start + number)) for number in range(readings)]
    plant.produce(SENSORS, messages)
    seen: list[Batch] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "orchestration.ingest.pipeline._LakeTables.take", lambda _, batches: seen.extend(batches)
        )
        patch.setattr("orchestration.ingest.pipeline._LakeTables.finish", lambda *_: None)
        plant.land(settings=PipelineSettings(batch_messages=50))
    return seen


def _writer(plant: Plant, partitions: set[int] | None = None) -> LakeWriter:
    lake = Lake(plant.services.lake_url, plant.services.catalog_uri)
    return LakeWriter(lake, plant.contract(SENSORS), plant.services.database_url, FlushSettings(), partitions)


@pytest.mark.parametrize("partitions", [None, {0}])
def test_a_partition_that_the_lake_does_not_know_begins_where_its_ledger_does(
    plant: Plant, partitions: set[int] | None
) -> None:
    """Forbids a writer that takes a later batch first: its position passes the gap, which then stays."""
    first, second, *_ = _committed(plant, 200)
    writer = _writer(plant, partitions)

    with pytest.raises(LakeBehindError, match=f"ends at offset 0, the batch begins at {second.offsets.lo}"):
        writer.append(second)
    writer.append(first)
    writer.append(second)
    assert writer.flush() == first.rows.num_rows + second.rows.num_rows
    assert writer.catch_up() == 200 - first.rows.num_rows - second.rows.num_rows

    assert len(plant.lake_rows()) == 200
    assert plant.check().is_balanced


def test_rows_of_a_file_that_could_not_be_closed_come_once(plant: Plant) -> None:
    """Forbids rows that are twice in the lake because the disk was full for a moment while it caught up."""
    first, *_ = _committed(plant, 100)
    writer = _writer(plant)
    writer.append(first)
    end_group, failures = LakeWriter._end_group, [OSError(ENOSPC, "No space left on device")]

    def failing_once(self: LakeWriter) -> None:
        if failures:
            raise failures.pop()
        end_group(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LakeWriter, "_end_group", failing_once)
        assert writer.catch_up() == 100
    assert sorted(row["kafka_offset"] for row in plant.lake_rows()) == list(range(100))
    assert plant.check().is_balanced


def test_what_was_skipped_is_read_back_while_nothing_more_comes(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids rows that wait for the lake until the service ends, or until their partition gets others."""
    pipelines: list[LandingPipeline] = []
    run, take = LandingPipeline.run, _LakeTables.take

    def noted_run(pipeline: LandingPipeline, *arguments: Any) -> None:
        pipelines.append(pipeline)
        run(pipeline, *arguments)

    def skipping(tables: _LakeTables, batches: list[Batch]) -> None:
        if not batches or skipped:
            take(tables, batches)
            return
        skipped.extend(batches)  # as if there had been no room for them
        pipelines[-1]._has_skipped_lake = True

    skipped: list[Batch] = []
    monkeypatch.setattr(LandingPipeline, "run", noted_run)
    lake = Lake(plant.services.lake_url, plant.services.catalog_uri)
    table = lake.table(plant.contract(SENSORS))

    def lake_has(rows: int) -> bool:
        return len(table.refresh().scan(selected_fields=("kafka_offset",)).to_arrow()) == rows

    with running_service(plant, settings=SOON):
        plant.produce_readings(8)
        wait_until(lambda: lake_has(8))
        monkeypatch.setattr(_LakeTables, "take", skipping)
        plant.produce(SENSORS, [plant.datum(SENSORS, reading(8))], partition=3)
        wait_until(lambda: lake_has(9))
        assert len(skipped) == 1
    report = plant.check()
    assert report.is_balanced, report.faults
