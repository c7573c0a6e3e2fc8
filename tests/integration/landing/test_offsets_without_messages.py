"""Gaps, retention, transactions and recreated topics: the arithmetic holds and names what is gone."""

import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from landing_plant import SENSORS, Plant, reading

from orchestration.ingest.ledger import Counts
from orchestration.ingest.offsets import Range
from orchestration.ingest.reland import Window, reland
from orchestration.ingest.topics import ensure_topics

pytestmark = pytest.mark.integration


def _payloads(plant: Plant, count: int, start: int = 0) -> list[bytes | None]:
    return [plant.datum(SENSORS, reading(start + number)) for number in range(count)]


def test_transaction_markers_and_aborted_messages_are_absent(plant: Plant) -> None:
    """Forbids counting offsets as lost or landed that hold a marker or an aborted message."""
    producer = Producer(
        {"bootstrap.servers": plant.services.bootstrap_servers, "transactional.id": plant.suffix}
    )
    producer.init_transactions(30)

    def send(count: int, start: int) -> None:
        producer.begin_transaction()
        for payload in _payloads(plant, count, start):
            producer.produce(plant.topic(SENSORS), value=payload, partition=0)
        producer.flush()

    send(5, start=0)
    producer.commit_transaction()  # offsets 0 to 4, marker 5
    send(3, start=100)
    producer.abort_transaction()  # offsets 6 to 8, marker 9
    send(2, start=5)
    producer.commit_transaction()  # offsets 10 and 11, marker 12
    send(4, start=7)  # offsets 13 to 16, undecided

    first = plant.land()
    producer.commit_transaction()  # marker 17
    second = plant.land()

    assert first.counts == Counts(landed=7, absent=6)
    assert [(item.offsets.lo, item.offsets.hi) for item in first.partitions] == [(0, 13)]
    assert second.counts == Counts(landed=4, absent=1)
    offsets = [row[0] for row in plant.query("select kafka_offset from raw.equipment_sensors order by 1")]
    assert offsets == [0, 1, 2, 3, 4, 10, 11, 13, 14, 15, 16]
    report = plant.check()
    assert report.is_balanced, report.faults
    assert report.balances[0].pending == 0


def test_what_retention_deleted_first_is_named(plant: Plant) -> None:
    """Forbids a lander that skips deleted offsets in silence, or that stops for ever at them."""
    plant.produce(SENSORS, _payloads(plant, 100))
    plant.land(until={0: 40, 1: 0, 2: 0, 3: 0})
    admin = AdminClient({"bootstrap.servers": plant.services.bootstrap_servers})
    for future in admin.delete_records([TopicPartition(plant.topic(SENSORS), 0, 70)]).values():
        future.result(10)

    report = plant.land()

    assert "offsets 40 to 70 (30 messages)" in report.findings[0]
    assert report.counts == Counts(landed=30)
    ledger = plant.check()
    assert ledger.is_balanced
    assert ledger.balances[0].counts == Counts(landed=70, absent=30)
    assert [
        (fault.severity, fault.offsets and (fault.offsets.lo, fault.offsets.hi)) for fault in ledger.faults
    ] == [("warning", (40, 70))]


def test_a_topic_whose_first_offsets_are_gone_begins_at_the_first_that_is_left(plant: Plant) -> None:
    """Forbids a first landing that waits for offsets which retention deleted long ago."""
    plant.produce(SENSORS, _payloads(plant, 20))
    admin = AdminClient({"bootstrap.servers": plant.services.bootstrap_servers})
    for future in admin.delete_records([TopicPartition(plant.topic(SENSORS), 0, 15)]).values():
        future.result(10)
    assert plant.land().counts == Counts(landed=5)
    ledger = plant.check()
    assert ledger.is_balanced
    assert [str(fault.severity) for fault in ledger.faults] == ["warning"]


def test_a_recreated_topic_starts_anew(plant: Plant) -> None:
    """Forbids 'nothing to do' after a topic was recreated with fewer messages than were landed before."""
    plant.produce(SENSORS, _payloads(plant, 50))
    plant.land()
    _delete(plant)
    ensure_topics(plant.services.bootstrap_servers, plant.contracts)
    plant.produce(SENSORS, _payloads(plant, 30, start=1000))

    report = plant.land()

    assert report.counts == Counts(landed=30)
    ledger = plant.check()
    assert ledger.is_balanced, ledger.faults
    by_life = {(b.pending is None): b.counts for b in ledger.balances if b.counts.span}
    assert by_life == {True: Counts(landed=50), False: Counts(landed=30)}
    assert len(plant.lake_rows()) == 80


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("delete from raw.equipment_sensors where kafka_offset = 7", "the raw table holds 9 rows"),
        (
            "insert into raw.equipment_sensors select * from raw.equipment_sensors where kafka_offset = 7",
            "holds 11",
        ),
        ("update ops.consumer_offsets set next_offset = 12 where next_offset = 10", "the broker ends at 10"),
        ("delete from ops.landing_ledger where offset_lo = 0", "which the ledger does not place there"),
    ],
)
def test_damage_is_found_and_named(plant: Plant, damage: str, expected: str) -> None:
    """Forbids a check that passes whatever happened to the tables."""
    import psycopg

    plant.produce(SENSORS, _payloads(plant, 10))
    plant.land()
    assert plant.check().is_balanced
    with psycopg.connect(plant.services.database_url) as connection:
        connection.execute(damage)
    report = plant.check()
    assert not report.is_balanced
    assert any(expected in str(fault) for fault in report.faults), report.faults
    assert all(fault.partition.partition == 0 for fault in report.faults)


def _delete(plant: Plant) -> None:
    admin = AdminClient({"bootstrap.servers": plant.services.bootstrap_servers})
    for future in admin.delete_topics([plant.topic(SENSORS)]).values():
        future.result(10)
    deadline = time.monotonic() + 10
    while plant.topic(SENSORS) in admin.list_topics(timeout=5).topics and time.monotonic() < deadline:
        time.sleep(0.05)


def test_offsets_that_compaction_took_are_absent(plant: Plant) -> None:
    """Forbids a lander that waits for compacted offsets, or counts them as landed or lost.

    200 readings of two keys and a marker: the broker keeps the last of each key and whatever is in the open
    segment. How many that is depends on the cleaner; the sum does not.
    """
    topic = plant.topic(SENSORS)
    admin = AdminClient({"bootstrap.servers": plant.services.bootstrap_servers})
    compacted = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.0001"}
    resource = ConfigResource(
        ConfigResource.Type.TOPIC,
        topic,
        incremental_configs=[
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in compacted.items()
        ],
    )
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)
    for start in range(0, 200, 50):
        for key in (b"a", b"b"):
            plant.produce(SENSORS, _payloads(plant, 25, start), key=key)
        time.sleep(0.3)  # the next message opens another segment, and only closed ones are compacted
    deadline = time.monotonic() + 90
    while (kept := _readable(plant)) > 150:
        assert time.monotonic() < deadline, f"the cleaner left {kept} messages"
        plant.produce(SENSORS, _payloads(plant, 1, 999), key=b"c")
        time.sleep(2.0)

    report = plant.land()

    ledger = plant.check()
    assert ledger.is_balanced, ledger.faults
    assert report.counts.landed == _rows(plant) < 200
    assert report.counts.absent > 0
    assert report.counts.span == ledger.balances[0].offsets.hi
    again = reland(plant.services, plant.contracts, Window(topic, partition=0, offsets=Range(0, 10**6)))
    assert (again.restored, again.corrected, again.unreachable) == (0, 0, [])


def _rows(plant: Plant) -> int:
    return int(plant.query("select count(*) from raw.equipment_sensors")[0][0])


def _readable(plant: Plant) -> int:
    """Messages of partition 0 that a consumer gets."""
    consumer = Consumer(
        {
            "bootstrap.servers": plant.services.bootstrap_servers,
            "group.id": "a test",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.assign([TopicPartition(plant.topic(SENSORS), 0, 0)])
        count = 0
        while (message := consumer.poll(10.0)) is not None and message.error() is None:
            count += 1
        return count
    finally:
        consumer.close()
