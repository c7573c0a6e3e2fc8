"""Sources against a real broker and database: counts, headers, positions."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from orchestration.ingest.contracts import latest_schema
from orchestration.ingest.contracts.avro import decode_datum
from orchestration.ingest.contracts.wire import unframe
from orchestration.ingest.replay.azure_pdm import replay_azure_pdm
from orchestration.ingest.simulators.clock import PLANT_START
from orchestration.ingest.simulators.ground_truth import ground_truth_folder
from orchestration.ingest.simulators.plant import TOPICS, PlantSimulator
from orchestration.ingest.simulators.production import simulate
from orchestration.ingest.sources import SourceError, SourcePosition, SourceProgress
from orchestration.ingest.topics import ensure_topics

pytestmark = pytest.mark.integration


def end_offsets(servers: str) -> dict[tuple[str, int], int]:
    """Next offset of every partition of the sources' topics."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "unused"})
    try:
        known = consumer.list_topics(timeout=10).topics
        partitions = [TopicPartition(topic, number) for topic in TOPICS for number in known[topic].partitions]
        return {(each.topic, each.partition): end_offset(consumer, each) for each in partitions}
    finally:
        consumer.close()


def end_offset(consumer: Consumer, partition: TopicPartition, tries: int = 50) -> int:
    """Next offset of one partition; one that was just made has no leader for a moment."""
    for _ in range(tries):
        try:
            return consumer.get_watermark_offsets(partition, timeout=10)[1]
        except KafkaException:
            time.sleep(0.1)
    raise AssertionError(f"{partition} has no leader")


def messages_between(
    servers: str, low: dict[tuple[str, int], int], high: dict[tuple[str, int], int]
) -> dict[str, list[Message]]:
    """Everything between two `end_offsets`, partition by partition."""
    found: dict[str, list[Message]] = {topic: [] for topic in TOPICS}
    for (topic, partition), end in high.items():
        first = low.get((topic, partition), 0)
        if first == end:
            continue
        consumer = Consumer({"bootstrap.servers": servers, "group.id": "unused"})
        consumer.assign([TopicPartition(topic, partition, first)])
        wanted = end - first
        while wanted:
            batch = consumer.consume(min(wanted, 10_000), timeout=10)
            assert batch, f"{topic}/{partition}: {wanted} messages did not come"
            found[topic].extend(batch)
            wanted -= len(batch)
        consumer.close()
    return found


def known_at(message: Message) -> datetime:
    """The header that carries when the plant could have known."""
    return datetime.fromisoformat(dict(message.headers())["known_at"].decode())


@pytest.fixture
def topics(kafka_servers: str) -> dict[tuple[str, int], int]:
    """End offsets before the test: other tests use the same broker."""
    from orchestration.ingest.contracts import load_contracts

    ensure_topics(kafka_servers, load_contracts())
    return end_offsets(kafka_servers)


def test_replay_in_two_parts_sends_the_set_once(
    kafka_servers: str,
    database_url: str,
    azure_pdm_dir: Path,
    topics: dict[tuple[str, int], int],
) -> None:
    """Forbids lost or repeated rows where a replay stops, and a second replay that sends anything."""
    places = {"database_url": database_url, "bootstrap_servers": kafka_servers}

    first = replay_azure_pdm(azure_pdm_dir, until=datetime(2015, 2, 1, tzinfo=UTC), **places)
    second = replay_azure_pdm(azure_pdm_dir, **places)
    third = replay_azure_pdm(azure_pdm_dir, **places)

    # 2015-01-01 06:00 to 2015-01-31 23:00 are 30 days and 18 hours: 738 readings of 20 machines.
    assert first.messages["equipment-sensors"] == 738 * 20
    assert first.messages["equipment-sensors"] + second.messages["equipment-sensors"] == 43_200
    assert third.total == 0
    sent = messages_between(kafka_servers, topics, end_offsets(kafka_servers))
    counts = {topic: len(messages) for topic, messages in sent.items() if messages}
    assert counts == {topic: first.messages[topic] + second.messages[topic] for topic in first.messages}
    schema = latest_schema("equipment-sensors").schema
    rows = set()
    for message in sent["equipment-sensors"]:
        row = decode_datum(schema, unframe(message.value())[1])
        assert known_at(message) == row["event_at"]
        assert message.key().decode() == f"azure-pdm/{row['equipment_id']}"
        rows.add((row["equipment_id"], row["event_at"]))
    assert len(rows) == 43_200


def test_simulation_continues_with_exactly_the_next_hour(
    kafka_servers: str, database_url: str, tmp_path: Path, topics: dict[tuple[str, int], int]
) -> None:
    """Forbids a continued simulation that repeats, skips or changes what one long run would send."""
    places = {"database_url": database_url, "bootstrap_servers": kafka_servers, "state_dir": tmp_path}

    day = simulate(days=1, **places)
    again = simulate(days=1, **places)
    before_hour = end_offsets(kafka_servers)
    hour = simulate(hours=1, **places)

    whole = PlantSimulator().window(PLANT_START, PLANT_START + timedelta(hours=25))
    assert again.total == 0
    assert {topic: day.messages[topic] + hour.messages[topic] for topic in TOPICS} == whole.messages
    sent = messages_between(kafka_servers, topics, end_offsets(kafka_servers))
    assert {topic: len(messages) for topic, messages in sent.items()} == whole.messages
    last = messages_between(kafka_servers, before_hour, end_offsets(kafka_servers))
    for message in last["equipment-sensors"]:
        assert PLANT_START + timedelta(hours=24) <= known_at(message) < PLANT_START + timedelta(hours=25)
    schema = latest_schema("equipment-sensors").schema
    key = ("equipment_id", "event_at", "temperature_c", "vibration_mm_s")
    got = Counter(
        tuple(decode_datum(schema, unframe(message.value())[1])[name] for name in key)
        for message in sent["equipment-sensors"]
    )
    assert got == Counter(whole.frames["equipment-sensors"].select(key).iter_rows())
    assert (ground_truth_folder(tmp_path, "demo-plant", 7) / "ground_truth.json").is_file()


def test_cut_off_run_continues_after_its_last_chunk(
    kafka_servers: str, database_url: str, tmp_path: Path, topics: dict[tuple[str, int], int]
) -> None:
    """Forbids a run that starts over, or skips, after a person stopped it half-way."""
    places = {"database_url": database_url, "bootstrap_servers": kafka_servers, "state_dir": tmp_path}

    def stop(progress: SourceProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(days=4, on_progress=stop, **places)
    rest = simulate(days=4, **places)

    whole = PlantSimulator().window(PLANT_START, PLANT_START + timedelta(days=4))
    assert 0 < rest.total < sum(whole.messages.values())
    sent = messages_between(kafka_servers, topics, end_offsets(kafka_servers))
    assert {topic: len(messages) for topic, messages in sent.items()} == whole.messages


def test_position_moves_with_the_counts_and_is_held_by_one_process(database_url: str) -> None:
    """Forbids two producers of one source at once, and totals that forget earlier runs."""
    through = PLANT_START + timedelta(days=1)
    with SourcePosition.held(database_url, "simulator/test/1") as position:
        position.move(PLANT_START, {"messages": {"equipment-sensors": 3}})
        position.move(through, {"messages": {"equipment-sensors": 4}})
        with (
            pytest.raises(SourceError, match="simulator/test/1 is being produced by another process"),
            SourcePosition.held(database_url, "simulator/test/1"),
        ):
            pass

    with psycopg.connect(database_url) as connection:
        row = connection.execute("select produced_through_at, detail from ops.source_positions").fetchone()
    assert row == (through, {"messages": {"equipment-sensors": 7}})
