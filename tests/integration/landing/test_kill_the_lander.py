"""`kill -9` of the lander at random moments: nothing is lost and nothing is there twice."""

import multiprocessing
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from landing_plant import SENSORS, Plant

from orchestration.ingest.lake import Lake
from orchestration.ingest.lake_writer import FlushSettings
from orchestration.ingest.landing import land_topic
from orchestration.ingest.ledger import Counts
from orchestration.ingest.offsets import LandingError
from orchestration.ingest.pipeline import PipelineSettings

pytestmark = pytest.mark.integration

MESSAGES, KILLS, SEED = 60_000, 10, 20261121
# Small batches and files, so that every moment of a commit and of a flush is hit by some of the kills.
SMALL = PipelineSettings(batch_messages=400, lake_flush=FlushSettings(size=120_000, age_s=0.2))


def _land(plant: Plant) -> None:
    land_topic(plant.topic(SENSORS), plant.services, contracts=plant.contracts, settings=SMALL)


def test_ten_kills_lose_nothing_and_repeat_nothing(plant: Plant) -> None:
    """Forbids a lander whose rows, ledger, position and lake can disagree after a crash."""
    plant.produce_readings(MESSAGES)
    moments = random.Random(SEED)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["orchestration.ingest.landing", "pyiceberg.catalog.sql", "polars"])
    killed_at: list[int] = []
    for _ in range(KILLS):
        before = _landed(plant)
        lander = context.Process(target=_land, args=(plant,))
        lander.start()
        deadline = time.monotonic() + 60
        while _landed(plant) == before and lander.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        lander.join(moments.uniform(0.0, 0.25))
        lander.kill()
        lander.join()
        assert lander.exitcode == -9, "the lander had ended before it was killed: give it more messages"
        killed_at.append(_landed(plant))

    report = plant.land()

    assert killed_at == sorted(killed_at)
    assert killed_at[0] > 0 and killed_at[-1] < MESSAGES, killed_at
    assert report.counts == Counts(landed=MESSAGES - killed_at[-1])
    assert plant.query(
        "select count(*), count(distinct (kafka_partition, kafka_offset)) from raw.equipment_sensors"
    ) == [(MESSAGES, MESSAGES)]
    in_lake = [(row["kafka_partition"], row["kafka_offset"]) for row in plant.lake_rows()]
    assert (len(in_lake), len(set(in_lake))) == (MESSAGES, MESSAGES)
    ledger = plant.check()
    assert ledger.is_balanced, ledger.faults
    assert _files_on_disk(plant) == _files_of_snapshots(plant)


def test_a_lake_that_was_away_catches_up_from_postgres(plant: Plant) -> None:
    """Forbids a lake that stays behind after an outage, or that stops Postgres from landing."""
    plant.produce_readings(400)
    broken = replace(plant, services=replace(plant.services, lake_url="file:///proc/no-such-lake"))
    with pytest.raises(Exception, match="the lake catches up from Postgres"):
        broken.land()
    assert plant.query("select count(*) from raw.equipment_sensors") == [(400,)]

    plant.land()

    assert len(plant.lake_rows()) == 400
    assert plant.check().is_balanced


def test_files_of_a_commit_whose_answer_was_lost_stay(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids deleting files that a snapshot names because the catalog's answer did not arrive."""
    from pyiceberg.table import Table

    commit = Table.add_files

    answers = iter([OSError("connection reset")])

    def lose_the_answer(table: Table, *arguments: Any, **options: Any) -> None:
        commit(table, *arguments, **options)
        if lost := next(answers, None):
            raise lost

    plant.produce_readings(400)
    with monkeypatch.context() as patch:
        patch.setattr(Table, "add_files", lose_the_answer)
        plant.land()  # opens the table again and finds its rows there

    assert len(plant.lake_rows()) == 400
    assert plant.check().is_balanced
    assert _files_on_disk(plant) == _files_of_snapshots(plant)


def test_a_lake_that_stands_still_or_is_gone_is_found(plant: Plant) -> None:
    """Forbids a balanced ledger over a lake that has not followed for an hour, or that is another one."""
    plant.produce_readings(40)
    plant.land()
    assert not plant.check().faults
    gone = replace(
        plant,
        services=replace(
            plant.services, catalog_uri="sqlite:///:memory:", lake_url=f"{plant.services.lake_url}/gone"
        ),
    )
    report = gone.check()
    assert not report.is_balanced
    assert "has no table for 10 rows" in str(report.faults[0])

    plant.produce_readings(40, start=40)
    away = replace(plant, services=replace(gone.services, lake_url="file:///proc/no-such-lake"))
    with pytest.raises(LandingError):
        away.land()
    assert [str(fault.severity) for fault in plant.check().faults] == ["warning"] * 4
    with psycopg.connect(plant.services.database_url) as connection:
        connection.execute("update ops.landing_ledger set landed_at = landed_at - interval '1 hour'")
    report = plant.check()
    assert not report.is_balanced
    assert "lacks 10 rows" in str(report.faults[0])


def _landed(plant: Plant) -> int:
    return int(plant.query("select coalesce(sum(landed), 0) from ops.landing_ledger")[0][0])


def _files_on_disk(plant: Plant) -> set[str]:
    folder = Path(plant.services.lake_url) / "bronze" / "equipment_sensors" / "data"
    return {str(path) for path in folder.rglob("*") if path.is_file()}


def _files_of_snapshots(plant: Plant) -> set[str]:
    table = Lake(plant.services.lake_url, plant.services.catalog_uri).existing_table(plant.contract(SENSORS))
    assert table is not None
    return {path.removeprefix("file://") for path in table.inspect.files().column("file_path").to_pylist()}
