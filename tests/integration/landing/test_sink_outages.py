"""Sinks that are away: the service waits, says so, keeps its offsets, and goes on by itself."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from landing_plant import LOGS, SENSORS, Plant, log_line, reading, running_service, wait_until

from deployment.embedded import kafka, postgres
from deployment.embedded.service import start_child, stop_child
from orchestration.ingest import pipeline, postgres_sink
from orchestration.ingest.lake_writer import FlushSettings
from orchestration.ingest.landing_service import FRESH
from orchestration.ingest.ledger import Counts
from orchestration.ingest.quotas import set_quota
from orchestration.ingest.run_limits import RunLimits
from orchestration.ingest.sink_states import Sink, known_states, lander_states, state_in_file
from orchestration.ingest.topics import ensure_topics
from orchestration.migrations import upgrade
from tests.conftest import free_port

pytestmark = pytest.mark.integration

SETTINGS = replace(FRESH, lake_flush=FlushSettings(age_s=0.2))


_service = partial(running_service, stops_within_s=60, settings=SETTINGS)
_wait_until = partial(wait_until, timeout_s=120.0)


def _open_sinks(plant: Plant) -> dict[str, str]:
    with psycopg.connect(plant.services.database_url) as connection:
        return {
            name: reason for item in lander_states(connection) for name, reason in item.open_sinks.items()
        }


def _outages(plant: Plant) -> list[tuple[Any, ...]]:
    return plant.query("select sink, closed_at > opened_at from ops.sink_outages order by outage_id")


def test_a_lake_that_is_away_holds_nothing_up_and_catches_up(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids rows that wait for the lake, a lake that stays behind, and an outage that nobody sees."""
    monkeypatch.setattr(pipeline, "LAKE_RETRY_S", 0.5)
    plant.produce_readings(400)
    with _service(plant):
        _wait_until(lambda: len(plant.lake_rows()) == 400)
        folder = plant.lake_dir()
        away = folder.with_name("away")
        folder.rename(away)
        folder.write_text("a lake that can't be reached")
        plant.produce_readings(200, start=400)
        _wait_until(lambda: plant.row_count() == 600)
        _wait_until(lambda: "lake" in _open_sinks(plant))
        folder.unlink()
        away.rename(folder)
        _wait_until(lambda: len(plant.lake_rows()) == 600)
        _wait_until(lambda: _open_sinks(plant) == {})
        _wait_until(lambda: ("lake", True) in _outages(plant))
    report = plant.check()
    assert report.is_balanced, report.faults


def test_a_full_disk_is_waited_out_and_named(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a lander that dies of a full disk, skips what it could not write, or writes it twice."""
    is_full, real = threading.Event(), postgres_sink.copy_rows
    is_full.set()

    def copy(*arguments: Any) -> None:
        real(*arguments)  # the server says so after it has taken some
        if is_full.is_set():
            raise psycopg.errors.DiskFull("could not extend file: No space left on device")

    monkeypatch.setattr(postgres_sink, "copy_rows", copy)
    plant.produce_readings(400)
    with _service(plant):
        _wait_until(lambda: "No space left" in _open_sinks(plant).get("disk", ""))
        assert plant.row_count() == 0
        is_full.clear()
        _wait_until(lambda: plant.row_count() == 400)
        _wait_until(lambda: set(_outages(plant)) == {("disk", True)})
    report = plant.check()
    assert report.is_balanced, report.faults


def test_a_quota_makes_messages_wait_and_loses_none(plant: Plant) -> None:
    """Forbids a quota that drops, repeats or reorders what it holds back.

    400 rows at 100/s with a second's worth at once take at least 3 s, 100 of another tenant's partition none.
    """
    with psycopg.connect(plant.services.database_url) as connection:
        set_quota(connection, "demo-plant", 100.0, "a test")
    with _service(plant):
        time.sleep(1.0)
        started = time.monotonic()
        for number in range(8):
            plant.produce(
                SENSORS,
                [plant.datum(SENSORS, reading(number * 50 + index)) for index in range(50)],
                partition=0,
            )
            time.sleep(0.3)
        _wait_until(lambda: plant.row_count() == 400)
        took = time.monotonic() - started
        other = [plant.datum(SENSORS, reading(index, tenant_id="other")) for index in range(100)]
        plant.produce(SENSORS, other, partition=1)
        _wait_until(lambda: plant.row_count() == 500, timeout_s=20.0)
    assert took >= 2.5
    order = "select kafka_offset from raw.equipment_sensors where kafka_partition = 0 order by batch_id, 1"
    offsets = [row[0] for row in plant.query(order)]
    assert offsets == list(range(400))
    report = plant.check()
    assert report.is_balanced, report.faults


def test_a_run_takes_no_more_than_its_limits(plant: Plant) -> None:
    """Forbids a limited run that takes more, starves a partition, or leaves offsets unaccounted."""
    plant.produce_readings(400)
    first = plant.land(limits=RunLimits(messages=100))
    assert first.counts == Counts(landed=100)
    assert [len(item.offsets) for item in first.partitions] == [25] * 4
    assert first.lag == 300
    second = plant.land()
    assert second.counts == Counts(landed=300)
    plant.produce(LOGS, [b'{"x": 1}' for _ in range(10)] + [_line(number) for number in range(50)])
    plant.land(LOGS, limits=RunLimits(size=1))
    plant.land(LOGS)
    assert plant.check(LOGS).is_balanced


def _line(number: int) -> bytes:
    return json.dumps(log_line(number)).encode()


@pytest.fixture
def own_servers(services_dir: Path) -> Iterator[dict[str, Any]]:
    """Postgres and Kafka of the test's own, which it may stop."""
    root = services_dir / "outages"
    pg, broker, controller = free_port(), free_port(), free_port()
    postgres.initialise(root / "postgres")
    kafka.initialise(root / "kafka", broker, controller)
    services = {
        "postgres": postgres.service(root / "postgres", pg, fsync=False),
        "kafka": kafka.service(root / "kafka", broker, controller),
    }
    running = {name: start_child(service, root / "logs") for name, service in services.items()}
    postgres.create_databases(pg, ["opsgraph", "lake"])

    def restart(name: str, meanwhile: Callable[[], None]) -> None:
        stop_child(running[name], services[name])
        try:
            meanwhile()
        finally:
            running[name] = start_child(services[name], root / "logs")

    with ExitStack() as stack:
        for name in services:
            stack.callback(lambda name=name: stop_child(running[name], services[name]))
        yield {
            "pg": f"postgresql://postgres@127.0.0.1:{pg}",
            "kafka": f"127.0.0.1:{broker}",
            "restart": restart,
        }


def test_landing_survives_restarts_of_postgres_and_of_the_broker(
    plant: Plant, own_servers: dict[str, Any], tmp_path: Path
) -> None:
    """Forbids a service that needs a hand after a restart, loses or repeats rows, or hides that it waits."""
    services = replace(
        plant.services,
        database_url=f"{own_servers['pg']}/opsgraph",
        catalog_uri=f"{own_servers['pg'].replace('postgresql', 'postgresql+psycopg2')}/lake",
        bootstrap_servers=own_servers["kafka"],
    )
    upgrade(services.database_url)
    ensure_topics(services.bootstrap_servers, plant.contracts)
    own, said = replace(plant, services=services), tmp_path / "lander.json"

    def waits_for(sink: Sink) -> bool:
        state = state_in_file(said)
        return state is not None and sink.value in state.open_sinks

    def during_postgres() -> None:
        own.produce_readings(200, start=400)
        _wait_until(lambda: waits_for(Sink.POSTGRES))
        assert [item.lander for item in known_states(services.database_url, said)]  # from the file

    own.produce_readings(400)
    with _service(own, state_file=said):
        _wait_until(lambda: own.row_count() == 400)
        own_servers["restart"]("postgres", during_postgres)
        _wait_until(lambda: own.row_count() == 600)
        own_servers["restart"]("kafka", lambda: _wait_until(lambda: waits_for(Sink.KAFKA)))
        own.produce_readings(200, start=600)
        _wait_until(lambda: own.row_count() == 800)
        _wait_until(lambda: not waits_for(Sink.KAFKA) and not waits_for(Sink.POSTGRES))
        _wait_until(lambda: {sink for sink, is_over in _outages(own) if is_over} >= {"postgres", "kafka"})
    report = own.check()
    assert report.is_balanced, report.faults
    assert (own.row_count(), len(own.lake_rows())) == (800, 800)
    assert not said.exists()
