"""The service: lands as messages come, survives what happens around it, and shares the work."""

import json
import threading
import time
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from landing_plant import (
    LOGS,
    MAINTENANCE,
    SENSORS,
    Plant,
    log_line,
    reading,
    running_service,
    wait_until,
)

from orchestration.ingest.fetch import UnreadableBatchError
from orchestration.ingest.lag import lag, waiting_evidence
from orchestration.ingest.landing_report import LandingReport
from orchestration.ingest.landing_service import LandingService
from orchestration.ingest.leases import SERVICE_LEASE, acquire, holder_of, topic_lease
from orchestration.ingest.ledger import Counts, FencedError, advance
from orchestration.ingest.offsets import Range, positions
from orchestration.ingest.sink_states import lander_states
from orchestration.ingest.topics import ensure_topics

pytestmark = pytest.mark.integration
LAST_OF_A_VALUE = 2  # from the end of a batch: one byte follows, which says that there are no headers


def test_service_lands_through_a_loss_of_all_its_database_sessions(plant: Plant) -> None:
    """Forbids a service that dies with Postgres' restart, or that lands anything twice after it."""
    plant.produce_readings(400)
    with running_service(plant):
        wait_until(lambda: plant.row_count() == 400)
        with psycopg.connect(plant.services.database_url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
        plant.produce_readings(200, start=400)
        wait_until(lambda: plant.row_count() == 600)
    report = plant.check()  # stopped in an orderly way: the lake has everything too
    assert report.is_balanced, report.faults
    assert sum(item.lake_rows or 0 for item in report.balances) == 600


def test_a_topic_that_is_refused_keeps_no_other_from_landing(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids a service that stands still for all topics over one, or that leaves one out in silence."""
    monkeypatch.setattr("orchestration.ingest.landing_service.PLAN_CHECK_S", 0.3)
    monkeypatch.setattr("orchestration.ingest.landing_service.REFUSED_AGAIN_S", 0.5)
    plant.produce_readings(40)
    plant.land()
    plant.query("update ops.consumer_offsets set next_offset = next_offset + 1000 returning 1")
    deleted = plant.topic(MAINTENANCE)
    admin = AdminClient({"bootstrap.servers": plant.services.bootstrap_servers})
    admin.delete_topics([deleted])[deleted].result()
    topics = [plant.topic(base) for base in (SENSORS, LOGS, MAINTENANCE)]
    service = LandingService(plant.services, plant.contracts, topics)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        plant.produce(LOGS, [json.dumps(log_line(number)).encode() for number in range(5)])
        wait_until(lambda: plant.query("select count(*) from raw.raw_logs") == [(5,)])
        wait_until(lambda: set(_refused(plant)) == {topics[0], deleted})
        assert "was cut or restored" in _refused(plant)[topics[0]]
        assert "does not describe it" in _refused(plant)[deleted]
        assert plant.row_count() == 40
        assert {item.topic for item in lag(plant.services, topics)} == {topics[1]}

        plant.query("update ops.consumer_offsets set next_offset = next_offset - 1000 where topic = %s "
                    "returning 1", topics[0])  # fmt: skip
        ensure_topics(plant.services.bootstrap_servers, {deleted: plant.contracts[deleted]})
        plant.produce_readings(40, start=40)
        wait_until(lambda: plant.row_count() == 80)
        wait_until(lambda: _refused(plant) == {})
    finally:
        service.stop()
        thread.join(30)
    assert plant.check().is_balanced
    assert plant.check(LOGS).is_balanced


def test_a_damaged_batch_holds_up_nothing_but_its_partition(
    plant: Plant, services_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids a service that stands still for all topics at one batch, or loses what comes before it.

    Offsets 0 to 4 and 8 to 10 of partition 0 are whole. Of 7 a bit is wrong on the broker's disk, by which
    another reading would land; its batch begins at 5 where the producer has sent 5 to 7 at once.
    """
    monkeypatch.setattr("orchestration.ingest.landing_service.PLAN_CHECK_S", 0.3)
    monkeypatch.setattr("orchestration.ingest.landing_service.REFUSED_AGAIN_S", 0.5)
    topic = plant.topic(SENSORS)
    log_file = services_dir / "kafka" / "log" / f"{topic}-0" / f"{0:020d}.log"
    ends: list[int] = []
    for start, count in ((0, 5), (5, 3), (8, 3)):
        plant.produce(SENSORS, [plant.datum(SENSORS, reading(start + n)) for n in range(count)])
        ends.append(log_file.stat().st_size)
    with log_file.open("r+b") as log:
        log.seek(ends[1] - LAST_OF_A_VALUE)
        (byte,) = log.read(1)
        log.seek(ends[1] - LAST_OF_A_VALUE)
        log.write(bytes([byte ^ 1]))
    with pytest.raises(UnreadableBatchError, match=r"\[0\]: offset [567] can't be read"):
        plant.land()
    whole = plant.row_count()
    assert 5 <= whole <= 7
    with running_service(plant):
        wait_until(lambda: "can't be read" in _refused(plant).get(topic, ""))
        plant.produce(SENSORS, [plant.datum(SENSORS, reading(n)) for n in range(4)], partition=1)
        wait_until(lambda: plant.row_count() == whole + 4)
        admin = AdminClient({"bootstrap.servers": plant.services.bootstrap_servers})
        for future in admin.delete_records([TopicPartition(topic, 0, 8)]).values():
            future.result(10)
        wait_until(lambda: plant.row_count() == whole + 7)
        wait_until(lambda: _refused(plant) == {})
    report = plant.check()
    assert report.is_balanced, report.faults
    assert report.balances[0].counts == Counts(landed=whole + 3, absent=8 - whole)


def _refused(plant: Plant) -> dict[str, str]:
    with psycopg.connect(plant.services.database_url) as connection:
        (state,) = lander_states(connection) or [None]
    return {} if state is None else {topic: str(item["reason"]) for topic, item in state.refused.items()}


def test_while_the_service_holds_the_lease_others_leave_the_topic_to_it(plant: Plant) -> None:
    """Forbids a sensor or a click in the web UI that lands beside the service."""
    topic = plant.topic(SENSORS)
    with running_service(plant):
        wait_until(lambda: _holder(plant) is not None)
        assert "--follow" in (waiting_evidence(plant.services, [topic]).holder or "")
        plant.produce_readings(100)
        report = plant.land()
        assert "--follow" in report.landed_by
        assert plant.row_count() == 100
    assert _holder(plant) is None
    assert waiting_evidence(plant.services, [topic]).evidence == ""


def test_evidence_names_the_waiting_ranges(plant: Plant) -> None:
    """Forbids a run key that stays the same while other offsets wait."""
    plant.produce(SENSORS, [plant.datum(SENSORS, reading(number)) for number in range(3)], partition=2)
    found = waiting_evidence(plant.services, [plant.topic(SENSORS)])
    (topic_id,) = {row.topic_id for row in plant_positions(plant)}
    assert found.evidence == f"{plant.topic(SENSORS)}:{topic_id}:2=0-3"


def plant_positions(plant: Plant) -> list:
    """Positions after a landing, which also proves that the evidence did not land anything."""
    assert plant.row_count() == 0
    plant.land()
    with psycopg.connect(plant.services.database_url) as connection:
        return list(positions(connection, [plant.topic(SENSORS)]))


def test_a_lease_has_one_holder_and_is_freed_with_its_session(plant: Plant) -> None:
    """Forbids two holders at once, and a lease that outlives a killed process."""
    url = plant.services.database_url
    first = acquire(url, "landing/x", "first")
    assert first is not None
    assert acquire(url, "landing/x", "second") is None
    first._connection.close()  # what the server sees when the process is killed
    second = acquire(url, "landing/x", "second")
    assert second is not None
    second.release()


def test_a_waiting_landing_takes_over_when_the_holder_dies(plant: Plant) -> None:
    """Forbids a run that waits five minutes for a lander that was killed."""
    plant.produce_readings(40)
    holder = acquire(plant.services.database_url, topic_lease(plant.topic(SENSORS)), "another lander")
    assert holder is not None
    reports: list[LandingReport] = []
    waiting = threading.Thread(target=lambda: reports.append(plant.land()))
    waiting.start()
    time.sleep(1.0)
    assert plant.row_count() == 0
    holder._connection.close()
    waiting.join(30)
    assert [report.landed_by for report in reports] == ["this run"]
    assert plant.row_count() == 40


def test_a_slower_lander_is_fenced(plant: Plant) -> None:
    """Forbids a lander whose lease was lost from writing a range that another has landed."""
    plant.produce_readings(40)
    plant.land()
    with psycopg.connect(plant.services.database_url) as connection:
        partition = next(iter(positions(connection, [plant.topic(SENSORS)])))
        with pytest.raises(FencedError, match="offsets 0 to 10 were not landed"):
            advance(connection, [(partition, Range(0, 10))])


def _holder(plant: Plant) -> str | None:
    with psycopg.connect(plant.services.database_url) as connection:
        return holder_of(connection, SERVICE_LEASE)
