"""Two landers share a topic's partitions: nothing is lost, nothing is there twice, whoever dies."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path

import psycopg
import pytest
from landing_plant import SENSORS, Plant

from orchestration.ingest.lake import Lake
from orchestration.ingest.lake_writer import FlushSettings
from orchestration.ingest.landing import land_topic
from orchestration.ingest.landing_service import FRESH, LandingService
from orchestration.ingest.partition_share import PartitionShare, partition_lease
from orchestration.ingest.pipeline import PipelineSettings

pytestmark = pytest.mark.integration

SMALL = PipelineSettings(batch_messages=500, lake_flush=FlushSettings(size=200_000, age_s=0.3))
MESSAGES = 30_000


def _land(plant: Plant, partitions: set[int]) -> None:
    land_topic(
        plant.topic(SENSORS), plant.services, contracts=plant.contracts, settings=SMALL, partitions=partitions
    )


def _serve(plant: Plant) -> None:
    settings = replace(FRESH, batch_messages=500, lake_flush=SMALL.lake_flush)
    LandingService(
        plant.services, plant.contracts, [plant.topic(SENSORS)], settings=settings, is_shared=True
    ).run()


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["orchestration.ingest.landing_service", "pyiceberg.catalog.sql"])
    return context


def test_two_landers_at_once_land_each_message_once(plant: Plant) -> None:
    """Forbids landers of other partitions that overwrite each other's offsets in the lake's snapshots."""
    plant.produce_readings(MESSAGES)
    landers = [_context().Process(target=_land, args=(plant, own)) for own in ({0, 2}, {1, 3})]
    for lander in landers:
        lander.start()
    for lander in landers:
        lander.join(120)
        assert lander.exitcode == 0

    _assert_each_once(plant)


def test_who_opens_an_empty_catalog_at_once_with_others_gets_it_too(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids a second lander that fails since the first one is just making the catalog's tables."""
    from pyiceberg.catalog.sql import SqlCatalog

    uri = empty_database_url.replace("postgresql://", "postgresql+psycopg2://")
    together, create, waited = threading.Barrier(6), SqlCatalog.create_tables, threading.local()

    def create_together(catalog: SqlCatalog) -> None:
        if not hasattr(waited, "once"):  # all have seen that there are no tables
            waited.once = together.wait(30)
        create(catalog)

    monkeypatch.setattr(SqlCatalog, "create_tables", create_together)
    with ThreadPoolExecutor(6) as landers:
        assert len(list(landers.map(lambda _: Lake(str(tmp_path), uri), range(6)))) == 6


def test_when_one_of_two_services_is_killed_the_other_takes_its_partitions(plant: Plant) -> None:
    """Forbids partitions that stay with a dead lander, and rows that both have written."""
    plant.produce_readings(MESSAGES // 2)
    landers = [_context().Process(target=_serve, args=(plant,)) for _ in range(2)]
    try:
        for lander in landers:
            lander.start()
        _wait_until(plant, lambda: _owners(plant) == {2} and _landed(plant) > 0)
        plant.produce_readings(MESSAGES // 2, start=MESSAGES // 2)
        landers[0].kill()  # both have partitions, and are probably in the middle of a batch
        landers[0].join()
        _wait_until(plant, lambda: _owners(plant) == {4} and _landed(plant) == MESSAGES)
    finally:
        for lander in landers:
            lander.kill()
            lander.join()
    plant.land()  # what the killed ones had not flushed to the lake

    _assert_each_once(plant)


def test_a_third_lander_gets_what_is_too_much_for_the_others(plant: Plant) -> None:
    """Forbids a lander that keeps every partition because it came first."""
    url, topic, numbers = plant.services.database_url, plant.topic(SENSORS), range(4)
    shared = "select pg_advisory_lock_shared(hashtextextended('landing/' || %s, 0))"
    with psycopg.connect(url, autocommit=True) as first, psycopg.connect(url, autocommit=True) as second:
        one, two = PartitionShare(url), PartitionShare(url)
        first.execute(shared, (topic,))
        assert one.settle(topic, numbers) == {0, 1, 2, 3}
        second.execute(shared, (topic,))
        assert two.settle(topic, numbers) == set()
        assert one.is_unfair(topic, numbers)
        assert one.settle(topic, numbers) == {0, 1}
        assert two.is_unfair(topic, numbers)  # it has taken one of the two that are free
        assert two.settle(topic, numbers) == {2, 3}
        one.close()
        two.close()


def _assert_each_once(plant: Plant) -> None:
    assert plant.query(
        "select count(*), count(distinct (kafka_partition, kafka_offset)) from raw.equipment_sensors"
    ) == [(MESSAGES, MESSAGES)]
    in_lake = [(row["kafka_partition"], row["kafka_offset"]) for row in plant.lake_rows()]
    assert (len(in_lake), len(set(in_lake))) == (MESSAGES, MESSAGES)
    report = plant.check()
    assert report.is_balanced, report.faults


def _landed(plant: Plant) -> int:
    return int(plant.query("select coalesce(sum(landed), 0) from ops.landing_ledger")[0][0])


def _owners(plant: Plant) -> set[int]:
    """How many partitions each lander holds now."""
    keys = [partition_lease(plant.topic(SENSORS), number) for number in range(4)]
    rows = plant.query(
        """
        select count(*) from pg_locks
        where locktype = 'advisory' and granted and mode = 'ExclusiveLock'
            and (classid::bigint << 32 | objid::bigint) in (
                select hashtextextended(k, 0) from unnest(%s::text[]) k)
        group by pid
        """,
        keys,
    )
    return {int(count) for (count,) in rows}


def _wait_until(plant: Plant, condition: Callable[[], bool], timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {_owners(plant)}, {_landed(plant)}"
        time.sleep(0.05)
