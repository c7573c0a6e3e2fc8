"""`kill -9` at each step of a write: nothing is lost, nothing is there twice, and no file is left over.

The lander dies by its own hand at a named step, so that every step is hit, not only those that take
long. `test_kill_the_lander` kills at random moments. Slow runs: OPSGRAPH_CRASHES=200 lets as many landers die
at random in the last test, alone and by twos (three by default).
"""

import itertools
import multiprocessing
import os
import random
import signal
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from landing_plant import SENSORS, Plant

from orchestration.ingest.lake import Lake
from orchestration.ingest.lake_files import LakeFiles
from orchestration.ingest.lake_writer import FlushSettings
from orchestration.ingest.landing import land_topic
from orchestration.ingest.pipeline import PipelineSettings

pytestmark = pytest.mark.integration

SETTINGS = PipelineSettings(batch_messages=300, lake_flush=FlushSettings(size=60_000, age_s=0.1))
MESSAGES = 4_000
Partitions = Collection[int] | None
CRASHES, SEED = int(os.environ.get("OPSGRAPH_CRASHES", "3")), 20261121
STEPS: dict[str, tuple[str, str, bool]] = {
    "after consume": ("orchestration.ingest.consume", "RangeReader.read", True),
    "before the copy": ("orchestration.ingest.postgres_sink", "copy_rows", False),
    "mid-copy": ("psycopg", "Copy.write", True),
    "before the commit": ("orchestration.ingest.postgres_sink", "write_rows", True),
    "after the commit": ("orchestration.ingest.postgres_sink", "PostgresSink.commit", True),
    "after the file": ("orchestration.ingest.lake_files", "LakeFiles.publish", False),
    "after fsync": ("orchestration.ingest.lake_files", "_fsync", True),
    "after rename": ("orchestration.ingest.lake_files", "LakeFiles.publish", True),
    "before the snapshot": ("pyiceberg.table", "Table.add_files", False),
    "after the snapshot": ("pyiceberg.table", "Table.add_files", True),
}
"""Module, function, and whether the process dies after the call instead of before it."""


def _land_and_die(
    plant: Plant,
    step: str,
    calls: int,
    without: Collection[str] = (),
    partitions: Partitions = None,
) -> None:
    """Land in this process, which kills itself at a step's n-th call."""
    module, path, is_after = STEPS[step]
    owner: Any = __import__(module, fromlist=["x"])
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real, numbers = getattr(owner, name), itertools.count(1)  # the two load connections call side by side

    def dying(*arguments: Any, **options: Any) -> Any:
        number = next(numbers)
        if number == calls and not is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(*arguments, **options)
        if number == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, dying)
    if "orphan removal" in without:
        LakeFiles.remove_orphans = lambda _: []
    land_topic(
        plant.topic(SENSORS), plant.services, contracts=plant.contracts, settings=SETTINGS,
        partitions=partitions,
    )  # fmt: skip


def _crash(plant: Plant, step: str, calls: int, without: Collection[str] = ()) -> bool:
    """Let a lander die at a step; whether it came that far."""
    return _crashes(plant, [(step, calls, without, None)])[0]


def _crashes(plant: Plant, deaths: Sequence[tuple[str, int, Collection[str], Partitions]]) -> list[bool]:
    """Let landers die side by side; which came to their steps."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["orchestration.ingest.landing", "pyiceberg.catalog.sql", "polars"])
    landers = [context.Process(target=_land_and_die, args=(plant, *death)) for death in deaths]
    for lander in landers:
        lander.start()
    for lander, death in zip(landers, deaths, strict=True):
        lander.join(120)
        assert lander.exitcode in (0, -signal.SIGKILL), f"{death[0]}: exit code {lander.exitcode}"
    return [lander.exitcode != 0 for lander in landers]


def test_a_crash_at_each_step_loses_nothing_and_repeats_nothing(plant: Plant) -> None:
    """Forbids any order of the steps of a write in which a crash leaves the stores disagreeing."""
    produced = 0
    plant.land()  # makes the lake's table: without one, the check calls the half-way state an error
    for step in STEPS:
        plant.produce_readings(MESSAGES // len(STEPS), start=produced)
        produced += MESSAGES // len(STEPS)
        assert _crash(plant, step, calls=1), f"the lander did not come to '{step}'"
        report = plant.check()
        assert report.is_balanced, (step, report.faults)  # half-way states are consistent too

    plant.land()

    _assert_each_once(plant, MESSAGES)


def test_the_matrix_notices_a_lander_that_does_not_clean_up(plant: Plant) -> None:
    """Forbids a suite that passes whatever the lander leaves behind: the negative control."""
    plant.produce_readings(400)
    assert _crash(plant, "after rename", calls=1, without={"orphan removal"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LakeFiles, "remove_orphans", lambda _: [])
        plant.land()

    with pytest.raises(AssertionError, match="files without a snapshot"):
        _assert_each_once(plant, 400)


def test_the_matrix_notices_a_row_that_is_there_twice(plant: Plant) -> None:
    """Forbids a check that balances over rows that are there twice."""
    plant.produce_readings(400)
    plant.land()
    plant.query("insert into raw.equipment_sensors select * from raw.equipment_sensors limit 1 returning 1")

    report = plant.check()

    assert not report.is_balanced
    assert "holds 101 rows of batch" in str(report.faults[0])
    with pytest.raises(AssertionError):
        _assert_each_once(plant, 400)


@pytest.mark.parametrize("shares", [(None,), ((0, 2), (1, 3))], ids=["one lander", "two landers"])
def test_random_crashes(plant: Plant, shares: Sequence[Partitions]) -> None:
    """Forbids a step that is only safe the first time, alone, or without what earlier crashes have left."""
    moments, produced = random.Random(SEED), 0
    for _ in range(0, CRASHES, len(shares)):
        plant.produce_readings(400, start=produced)
        produced += 400
        _crashes(
            plant, [(moments.choice(sorted(STEPS)), moments.randint(1, 3), (), share) for share in shares]
        )
        report = plant.check()
        assert report.is_balanced, report.faults

    plant.land()  # alone again: it removes what landers that share leave to the upkeep

    _assert_each_once(plant, produced)


def _assert_each_once(plant: Plant, messages: int) -> None:
    assert plant.query(
        "select count(*), count(distinct (kafka_partition, kafka_offset)) from raw.equipment_sensors"
    ) == [(messages, messages)]
    in_lake = [(row["kafka_partition"], row["kafka_offset"]) for row in plant.lake_rows()]
    assert (len(in_lake), len(set(in_lake))) == (messages, messages)
    report = plant.check()
    assert report.is_balanced, report.faults
    assert _on_disk(plant) == _in_snapshots(plant), "files without a snapshot"


def _on_disk(plant: Plant) -> set[str]:
    folder = Path(plant.services.lake_url) / "bronze" / "equipment_sensors" / "data"
    return {str(path) for path in folder.rglob("*") if path.is_file()}


def _in_snapshots(plant: Plant) -> set[str]:
    table = Lake(plant.services.lake_url, plant.services.catalog_uri).existing_table(plant.contract(SENSORS))
    assert table is not None
    return {path.removeprefix("file://") for path in table.inspect.files().column("file_path").to_pylist()}
