"""Reading a real broker's batches: every codec, key and header as another client reads them."""

import random
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from landing_plant import SENSORS, Plant

from orchestration.ingest.fetch import PARTITION_BYTES, Fetcher
from orchestration.ingest.kafka_records import Record
from orchestration.ingest.offsets import LandingError, PartitionId, broker_bounds
from orchestration.ingest.topics import ensure_topics

pytestmark = pytest.mark.integration

COUNT = 3_000
PATIENCE_S = 20.0


def fetch_all(plant: Plant, until: dict[int, int]) -> dict[int, list[Record]]:
    """Messages of each partition up to an offset."""
    bounds = broker_bounds(_admin(plant), [plant.topic(SENSORS)])
    fetcher = Fetcher(plant.services.bootstrap_servers, {item: bound.low for item, bound in bounds.items()})
    found: dict[int, list[Record]] = {number: [] for number in until}
    ends = dict.fromkeys(until, 0)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while any(ends[number] < until[number] for number in until):
            assert time.monotonic() < deadline, f"read up to {ends} of {until}"
            for item in fetcher.fetch(0.2):
                number = item.partition.partition
                found[number] += [item.messages.record(index) for index in range(len(item.messages))]
                ends[number] = item.end
    finally:
        fetcher.close()
    return found


def consume_all(plant: Plant, until: dict[int, int]) -> dict[int, list[Record]]:
    """The same by the consumer of another client."""
    consumer = Consumer({"bootstrap.servers": plant.services.bootstrap_servers, "group.id": plant.suffix})
    consumer.assign([TopicPartition(plant.topic(SENSORS), number, 0) for number in until])
    found: dict[int, list[Record]] = {number: [] for number in until}
    while sum(map(len, found.values())) < sum(until.values()):
        for message in consumer.consume(1_000, 5.0):
            assert message.error() is None
            found[message.partition()].append(
                Record(message.offset(), message.key(), message.value(), message.headers() or [])
            )
    consumer.close()
    return found


def _admin(plant: Plant) -> AdminClient:
    return AdminClient({"bootstrap.servers": plant.services.bootstrap_servers})


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_batches_of_every_codec_read_as_the_other_client_reads_them(plant: Plant, codec: str) -> None:
    """Forbids a codec, key, tombstone or header that the columns read differently."""
    draw = random.Random(codec)
    producer = Producer(
        {"bootstrap.servers": plant.services.bootstrap_servers, "compression.type": codec, "linger.ms": 5}
    )
    for number in range(COUNT):
        producer.produce(
            plant.topic(SENSORS), partition=number % 4,
            key=None if number % 3 else draw.randbytes(number % 40),
            value=None if number % 7 == 0 else draw.randbytes(number % 300) + b"same " * (number % 50),
            headers=[("known_at", b"2026"), ("other", None)][: number % 4 and number % 3],
        )  # fmt: skip
    assert producer.flush(30) == 0
    until = dict.fromkeys(range(4), COUNT // 4)
    assert fetch_all(plant, until) == consume_all(plant, until)


def test_a_message_beyond_what_is_asked_for_at_once_is_read(plant: Plant) -> None:
    """Forbids a partition that stands still at its largest message, and one that waits for others."""
    large = random.Random(1).randbytes(PARTITION_BYTES // 4)
    plant.produce(SENSORS, [large] * 24, 0)
    plant.produce(SENSORS, [b"small"], 3)
    found = fetch_all(plant, {0: 24, 3: 1})
    assert [record.value for record in found[0]] == [large] * 24
    assert [record.value for record in found[3]] == [b"small"]


def test_the_messages_of_a_recreated_topic_are_not_taken_for_the_old_ones(plant: Plant) -> None:
    """Forbids messages of a new topic at offsets that the old one's position has reached."""
    plant.produce(SENSORS, [b"old"] * 5)
    admin = _admin(plant)
    old = next(iter(broker_bounds(admin, [plant.topic(SENSORS)])))
    for future in admin.delete_topics([old.topic]).values():
        future.result(10)
    time.sleep(1.0)
    ensure_topics(plant.services.bootstrap_servers, plant.contracts)
    plant.produce(SENSORS, [b"new"] * 5)
    fetcher = Fetcher(plant.services.bootstrap_servers, {PartitionId(old.topic, old.topic_id, 0): 2})
    deadline = time.monotonic() + PATIENCE_S
    with pytest.raises(LandingError, match=f"no broker knows the topic under the id {old.topic_id}"):
        while time.monotonic() < deadline:
            assert not fetcher.fetch(0.2)
    fetcher.close()
