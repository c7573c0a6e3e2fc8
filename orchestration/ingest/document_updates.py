"""Reads the topic `knowledge-updates` and hands its messages to whoever keeps documents.

The position (`ops.consumer_offsets`, consumer `knowledge`) moves in the transaction that stores the
documents: a crash between the two can neither lose a message nor apply one to rows that were rolled back.
Avoid what a message means here; `rag_assets.sources.updates` knows it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportPrivateImportUsage=false

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic

from orchestration.ingest.offsets import Bounds, LandingError, PartitionId, broker_bounds
from orchestration.ingest.topics import admin_client

TOPIC = "knowledge-updates"
CONSUMER = "knowledge"
_PARTITIONS = 1  # one order over all documents of a plant; a few messages a day
_MESSAGES_PER_TRANSACTION = 500
_POLL_S = 1.0

Message = tuple[str, bytes | None]
Apply = Callable[[psycopg.Connection[Any], Sequence[Message]], None]


@dataclass(frozen=True)
class ReadUpdates:
    """What a run read.

    Attributes:
        message_count: Messages that were handed over.
        offset_count: Offsets that the position moved by; more than messages where some are gone.
    """

    message_count: int
    offset_count: int


def ensure_topic(bootstrap_servers: str) -> None:
    """Make the topic where it is missing: compacted, so that it keeps the last word on each document."""
    admin = admin_client(bootstrap_servers)
    new = NewTopic(TOPIC, _PARTITIONS, 1, config={"cleanup.policy": "compact"})
    for future in admin.create_topics([new]).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise LandingError(f"topic {TOPIC} could not be made: {error}; nothing was read") from error


def read_updates(bootstrap_servers: str, database_url: str, apply: Apply) -> ReadUpdates:
    """Apply everything that waits, in transactions of some hundred messages.

    Args:
        bootstrap_servers: `host:port,…` of Kafka.
        database_url: The opsgraph database.
        apply: Stores messages (key, value or None) inside the given connection's transaction.

    Raises:
        LandingError: The broker does not answer, or another reader moved the position meanwhile.
    """
    bounds = broker_bounds(admin_client(bootstrap_servers), [TOPIC])
    messages = offsets = 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        for partition, limits in sorted(bounds.items(), key=lambda item: item[0]):
            read = _read_partition(bootstrap_servers, connection, partition, limits, apply)
            messages, offsets = messages + read.message_count, offsets + read.offset_count
    return ReadUpdates(messages, offsets)


def waiting(bootstrap_servers: str, database_url: str) -> str:
    """Offsets that wait, as evidence for a run key; empty when nothing does."""
    bounds = broker_bounds(admin_client(bootstrap_servers), [TOPIC])
    with psycopg.connect(database_url, autocommit=True) as connection:
        parts = [
            f"{partition}:{limits.end}"
            for partition, limits in sorted(bounds.items(), key=lambda item: item[0])
            if max(_position(connection, partition), limits.low) < limits.end
        ]
    return ",".join(parts)


def _read_partition(
    bootstrap_servers: str,
    connection: psycopg.Connection[Any],
    partition: PartitionId,
    limits: Bounds,
    apply: Apply,
) -> ReadUpdates:
    start = position = max(_position(connection, partition), limits.low)
    if position >= limits.end:
        return ReadUpdates(0, 0)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers, "group.id": "opsgraph-documents",
            "enable.auto.commit": False, "auto.offset.reset": "error", "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )  # fmt: skip
    count = 0
    try:
        consumer.assign([TopicPartition(partition.topic, partition.partition, position)])
        while position < limits.end:
            batch, reached = _batch(consumer, position, limits.end)
            with connection.transaction():
                apply(connection, batch)
                _move(connection, partition, position, reached)
            count, position = count + len(batch), reached
    finally:
        consumer.close()
    return ReadUpdates(count, position - start)


def _batch(consumer: Consumer, position: int, end: int) -> tuple[list[Message], int]:
    """Messages below `end`, and the offset that was reached with them."""
    batch: list[Message] = []
    while position < end and len(batch) < _MESSAGES_PER_TRANSACTION:
        for message in consumer.consume(_MESSAGES_PER_TRANSACTION - len(batch), timeout=_POLL_S):
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # pyright: ignore[reportPrivateUsage]
                return batch, end  # what is missing up to the end was compacted away
            if error is not None:
                raise LandingError(f"{TOPIC} can't be read at {position}: {error}; earlier messages are kept")
            offset = message.offset()
            if offset is None or offset >= end:
                return batch, end
            key, value = message.key(), message.value()
            batch.append(((key or b"").decode("utf-8", "replace"), value or None))
            position = offset + 1
    return batch, position


def _position(connection: psycopg.Connection[Any], partition: PartitionId) -> int:
    row = connection.execute(
        "select next_offset from ops.consumer_offsets "
        "where consumer = %s and topic_id = %s and kafka_partition = %s",
        (CONSUMER, partition.topic_id, partition.partition),
    ).fetchone()
    return row[0] if row else 0


def _move(connection: psycopg.Connection[Any], partition: PartitionId, start: int, end: int) -> None:
    connection.execute(
        "insert into ops.consumer_offsets (consumer, topic, topic_id, kafka_partition, next_offset) "
        "values (%s, %s, %s, %s, 0) on conflict do nothing",
        (CONSUMER, partition.topic, partition.topic_id, partition.partition),
    )
    moved = connection.execute(
        "update ops.consumer_offsets set next_offset = %s, updated_at = now() "
        "where consumer = %s and topic_id = %s and kafka_partition = %s and next_offset <= %s",
        (end, CONSUMER, partition.topic_id, partition.partition, start),
    ).rowcount
    if not moved:
        raise LandingError(f"another reader has moved {partition} past {start}; this batch was rolled back")
