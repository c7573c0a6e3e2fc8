"""Topics and producer against a real broker: what is read back is what was sent."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from orchestration.ingest.contracts import ContractError, TopicContract, latest_schema, load_contracts
from orchestration.ingest.contracts.avro import decode_datum
from orchestration.ingest.contracts.wire import unframe
from orchestration.ingest.producer import DeliveryError, MessageProducer, RecordProducer
from orchestration.ingest.topics import MAX_MESSAGE_BYTES, TopicError, dead_letter_topic, ensure_topics

pytestmark = pytest.mark.integration

READING = {
    "tenant_id": "demo-plant",
    "equipment_id": "CNC-A-101",
    "event_at": datetime(2026, 1, 5, 6, 0, 0, 250_000, tzinfo=UTC),
    "temperature_c": 61.25,
}


@pytest.fixture(scope="module")
def contracts(kafka_servers: str) -> dict[str, TopicContract]:
    """The repository's contracts, with their topics made."""
    contracts = load_contracts()
    ensure_topics(kafka_servers, contracts)
    return contracts


@pytest.fixture
def fresh(kafka_servers: str, contracts: dict[str, TopicContract]) -> Iterator[dict[str, TopicContract]]:
    """Contracts whose topics carry a suffix of the test's own, so that no other test's messages are there."""
    suffix = uuid.uuid4().hex[:8]
    own = {
        f"{topic}-{suffix}": replace(contract, topic=f"{topic}-{suffix}")
        for topic, contract in contracts.items()
    }
    ensure_topics(kafka_servers, own)
    yield own


def read_all(servers: str, topic: str) -> list[Message]:
    """Every message of a topic; other tests of the session may have sent some of them."""
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "none", "fetch.message.max.bytes": MAX_MESSAGE_BYTES}
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    watermarks = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in partitions]
    count = sum(high - low for low, high in watermarks)
    messages: list[Message] = []
    while len(messages) < count:
        message = consumer.poll(10)
        assert message is not None, f"{len(messages)} of {count} messages after 10 s"
        assert message.error() is None
        messages.append(message)
    consumer.close()
    return messages


def test_a_second_run_changes_no_topic(kafka_servers: str, contracts: dict[str, TopicContract]) -> None:
    """Forbids treating an existing topic as an error or making it again."""
    again = ensure_topics(kafka_servers, contracts)

    assert again.created == again.extended == ()


def test_every_landed_topic_has_a_dead_letter_topic(
    kafka_servers: str, fresh: dict[str, TopicContract]
) -> None:
    """Forbids a landed topic whose refused messages have nowhere to go."""
    consumer = Consumer({"bootstrap.servers": kafka_servers, "group.id": "none"})
    present = consumer.list_topics(timeout=10).topics
    consumer.close()

    for topic, contract in fresh.items():
        assert len(present[topic].partitions) == contract.partitions
        assert (dead_letter_topic(topic) in present) == (contract.direction == "in")


def test_a_contract_with_more_partitions_widens_its_topic(
    kafka_servers: str, fresh: dict[str, TopicContract]
) -> None:
    """Forbids a contract's partition count that only holds for new topics."""
    topic = next(name for name in fresh if name.startswith("quality-metrics"))

    changes = ensure_topics(kafka_servers, {topic: replace(fresh[topic], partitions=3)})

    assert changes.extended == (topic,)


def test_topics_of_an_absent_broker_are_a_clear_error() -> None:
    """Forbids a bare client error that does not say what to start."""
    with pytest.raises(TopicError, match=r"127\.0\.0\.1:1 does not answer.*opsgraph up"):
        ensure_topics("127.0.0.1:1", load_contracts())


def test_a_reading_comes_back_as_it_was_sent(kafka_servers: str, contracts: dict[str, TopicContract]) -> None:
    """Forbids a wrong schema id, a lost microsecond, a wrong key or a known_at in another form."""
    topic = "equipment-sensors"
    known_at = datetime(2026, 1, 5, 7, tzinfo=UTC)
    marker = f"CNC-{uuid.uuid4().hex[:8]}"

    with RecordProducer(kafka_servers, contracts) as producer:
        producer.send(topic, {**READING, "equipment_id": marker}, known_at)

    key = f"demo-plant/{marker}".encode()
    message = next(m for m in read_all(kafka_servers, topic) if m.key() == key)
    schema_id, datum = unframe(message.value() or b"")
    assert schema_id == latest_schema(topic).schema_id
    record = decode_datum(latest_schema(topic).schema, datum)
    assert record["event_at"] == READING["event_at"]
    assert (record["equipment_id"], record["temperature_c"], record["pressure_bar"]) == (marker, 61.25, None)
    assert message.headers() == [("known_at", b"2026-01-05T07:00:00+00:00")]


def test_a_log_line_is_json_with_an_iso_instant(
    kafka_servers: str, contracts: dict[str, TopicContract]
) -> None:
    """Forbids Avro or a Python repr on the JSON topics."""
    line = {
        "tenant_id": "demo-plant",
        "event_at": datetime(2026, 1, 5, 6, tzinfo=UTC),
        "level": "ERROR",
        "source": "mes-gateway",
        "message": "Zeitüberschreitung nach 30 s",
    }

    with RecordProducer(kafka_servers, contracts) as producer:
        producer.send("raw_logs", line)

    message = next(m for m in read_all(kafka_servers, "raw_logs") if m.key() == b"mes-gateway")
    assert json.loads(message.value() or b"") == {**line, "event_at": "2026-01-05T06:00:00Z"}
    assert (message.key(), message.headers()) == (b"mes-gateway", None)


def test_a_payload_of_5_mib_passes_and_8_mib_is_refused_by_name(
    kafka_servers: str, fresh: dict[str, TopicContract]
) -> None:
    """Forbids a limit below 5 MiB anywhere on the way, and a refusal that does not say which message."""
    topic = next(name for name in fresh if name.startswith("equipment-status"))
    producer = MessageProducer(kafka_servers)

    producer.send(topic, b"demo-plant/PRS-B-201", b"\x01" * (5 * 1024 * 1024))
    with pytest.raises(
        DeliveryError, match=rf"topic {topic}, key demo-plant/PRS-B-202: a message of 9000000"
    ):
        producer.send(topic, b"demo-plant/PRS-B-202", b"\x01" * 9_000_000)

    assert producer.flush().delivered == 1
    assert len(read_all(kafka_servers, topic)[0].value() or b"") == 5 * 1024 * 1024


def test_a_full_buffer_waits_instead_of_losing(kafka_servers: str, fresh: dict[str, TopicContract]) -> None:
    """Forbids dropping messages, or failing, when records come faster than the broker takes them."""
    topic = next(name for name in fresh if name.startswith("maintenance-events"))
    producer = MessageProducer(kafka_servers, buffer_messages=1_000)

    # 20,000 messages through a buffer of 1,000: at least 19 times as many as fit.
    for number in range(20_000):
        producer.send(topic, str(number % 7).encode(), number.to_bytes(4, "big"))
    delivery = producer.flush()

    assert delivery.sent == delivery.delivered == 20_000
    received = {int.from_bytes(m.value() or b"", "big") for m in read_all(kafka_servers, topic)}
    assert received == set(range(20_000))


def test_messages_that_no_broker_took_are_reported(kafka_servers: str) -> None:
    """Forbids a flush that returns as if everything had arrived."""
    producer = MessageProducer(kafka_servers)

    producer.send("no-such-topic", b"demo-plant/CNC-A-101", b"x")

    with pytest.raises(
        DeliveryError, match=r"1 of 1 messages.*topic no-such-topic, key demo-plant/CNC-A-101"
    ):
        producer.flush()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"temperatur_c": 3.0}, "temperatur_c"),
        ({"temperature_c": "warm"}, "temperature_c|double"),
        ({"event_at": datetime(2026, 1, 5, 6)}, "event_at.*time zone"),
        ({"event_at": None}, "event_at"),
    ],
)
def test_a_record_that_breaks_its_contract_is_refused_with_topic_and_key(
    kafka_servers: str, contracts: dict[str, TopicContract], change: dict[str, object], reason: str
) -> None:
    """Forbids sending what landing would only refuse later, and dropping a misspelt metric in silence."""
    producer = RecordProducer(kafka_servers, contracts)

    with pytest.raises(
        ContractError, match=rf"topic equipment-sensors, key demo-plant/CNC-A-101: .*({reason})"
    ):
        producer.send("equipment-sensors", {**READING, **change})


def test_a_record_without_its_key_is_refused(kafka_servers: str, contracts: dict[str, TopicContract]) -> None:
    """Forbids a message with the key `demo-plant/None`, which would spread one machine over partitions."""
    producer = RecordProducer(kafka_servers, contracts)

    with pytest.raises(ContractError, match="equipment-sensors: the message key needs field 'equipment_id'"):
        producer.send("equipment-sensors", {"tenant_id": "demo-plant", "event_at": READING["event_at"]})
    with pytest.raises(
        ContractError, match="topic equipment-sensor has no contract; known are equipment-sensors"
    ):
        producer.send("equipment-sensor", READING)
