"""Which offsets wait to be landed: the broker's bounds beside the positions in Postgres.

Add here what concerns positions and bounds. Avoid messages: `consume` reads them. The consumer group
protocol is not used: `ops.consumer_offsets` moves in the transaction of the rows, a group would not.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import EarliestSpec, LatestSpec, OffsetSpec

CONSUMER = "landing"
REQUEST_TIMEOUT_S = 10.0
EARLIEST, LATEST = EarliestSpec(), LatestSpec()
OF_A_TOPIC = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
}
MOMENTARY = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE}


class LandingError(RuntimeError):
    """Landing can't go on; says topic, partition and offsets, what was kept and what to do."""


class TopicRefusedError(LandingError):
    """One topic can't be landed until somebody has done something; the others can."""

    def __init__(self, topic: str, reason: str) -> None:
        """Say which and why."""
        super().__init__(reason)
        self.topic = topic


@dataclass(frozen=True, order=True)
class PartitionId:
    """Identity of a partition: Kafka's own topic UUID tells a recreated topic from its predecessor."""

    topic: str
    topic_id: uuid.UUID
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


@dataclass(frozen=True)
class Bounds:
    """What the broker holds of a partition.

    Attributes:
        low: First offset that retention has left.
        end: Offset after the last one that is decided (the last stable offset: messages of an open
            transaction are not counted).
    """

    low: int
    end: int


def broker_bounds(admin: AdminClient, topics: Sequence[str]) -> dict[PartitionId, Bounds]:
    """Bounds of every partition of some topics.

    Args:
        admin: Client of the cluster.
        topics: Topics that must exist.

    Raises:
        TopicRefusedError: A topic does not exist.
        LandingError: The broker does not answer.
    """
    partitions, refused = described(admin, topics)
    for error in refused.values():
        raise error
    return bounds_of(admin, partitions)


def bounds_of(admin: AdminClient, partitions: Sequence[PartitionId]) -> dict[PartitionId, Bounds]:
    """Bounds of partitions that the broker has just described; empty for none.

    Raises:
        LandingError: The broker does not answer.
    """
    if not partitions:
        return {}
    low = _settled(lambda: _offsets(admin, partitions, EARLIEST))
    end = _settled(lambda: _offsets(admin, partitions, LATEST))
    return {partition: Bounds(low[partition], end[partition]) for partition in partitions}


def described(
    admin: AdminClient, topics: Sequence[str]
) -> tuple[list[PartitionId], dict[str, TopicRefusedError]]:
    """Partitions of those topics that the broker describes, and why it does not describe the others.

    Raises:
        LandingError: The broker does not answer.
    """
    found: list[PartitionId] = []
    refused: dict[str, TopicRefusedError] = {}
    futures = admin.describe_topics(TopicCollection(list(topics)), request_timeout=REQUEST_TIMEOUT_S)
    for topic, future in futures.items():
        try:
            answer = future.result()
        except KafkaException as error:
            reason = error.args[0]
            text = (
                f"topic {topic}: the broker does not describe it ({reason.str()}). Nothing of it was landed; "
                "make the topics with `opsgraph contracts sync`, or check KAFKA_BOOTSTRAP_SERVERS."
            )
            if reason.code() not in OF_A_TOPIC:
                raise LandingError(text) from error
            refused[topic] = TopicRefusedError(topic, text)
            continue
        topic_id = _uuid(answer.topic_id)
        found.extend(PartitionId(topic, topic_id, item.id) for item in answer.partitions)
    return sorted(found), refused


def _uuid(kafka_uuid: Any) -> uuid.UUID:
    mask = (1 << 64) - 1
    high, low = kafka_uuid.get_most_significant_bits(), kafka_uuid.get_least_significant_bits()
    return uuid.UUID(int=(high & mask) << 64 | (low & mask))


def _offsets(
    admin: AdminClient, partitions: Sequence[PartitionId], spec: OffsetSpec
) -> dict[PartitionId, int]:
    by_place = {(item.topic, item.partition): item for item in partitions}
    futures = admin.list_offsets(
        {TopicPartition(item.topic, item.partition): spec for item in partitions},
        isolation_level=IsolationLevel.READ_COMMITTED,
        request_timeout=REQUEST_TIMEOUT_S,
    )
    return {
        by_place[place.topic, place.partition]: future.result().offset for place, future in futures.items()
    }


def _settled(ask: Callable[[], dict[PartitionId, int]]) -> dict[PartitionId, int]:
    """Ask again while a partition changes its leader, which takes a moment after a topic was made."""
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            reason = error.args[0]
            if (not reason.retriable() and reason.code() not in MOMENTARY) or time.monotonic() > deadline:
                raise LandingError(
                    f"Kafka does not tell the offsets of its partitions: {reason.str()}"
                ) from error
            time.sleep(0.1)


def positions(connection: psycopg.Connection[Any], topics: Iterable[str]) -> dict[PartitionId, int]:
    """Next offset to land of each partition that was ever landed, by topic id."""
    rows = connection.execute(
        """
        select topic, topic_id, kafka_partition, next_offset
        from ops.consumer_offsets
        where consumer = %s and topic = any(%s)
        """,
        (CONSUMER, list(topics)),
    ).fetchall()
    return {PartitionId(topic, topic_id, partition): offset for topic, topic_id, partition, offset in rows}


@dataclass(frozen=True, order=True)
class Range:
    """Offsets `[lo, hi)` of one partition."""

    lo: int
    hi: int

    def __len__(self) -> int:
        return self.hi - self.lo


@dataclass(frozen=True)
class Plan:
    """What is to be landed.

    Attributes:
        pending: Range of each partition; empty ranges included.
        lost: Ranges before `pending` that retention deleted before they were landed.
    """

    pending: Mapping[PartitionId, Range]
    lost: Mapping[PartitionId, Range]

    @property
    def lag(self) -> int:
        """Offsets that wait."""
        return sum(len(item) for item in self.pending.values())


def plan(
    bounds: Mapping[PartitionId, Bounds],
    known: Mapping[PartitionId, int],
    until: Mapping[int, int] | None = None,
) -> Plan:
    """Put the broker's bounds and the positions together.

    A partition without a position (new, or of a recreated topic, whose id differs) begins at the
    broker's first offset.

    Args:
        bounds: What the broker holds.
        known: Next offset of each partition that was landed before.
        until: End offset by partition number that must not be passed; the broker's end otherwise.

    Raises:
        TopicRefusedError: A position lies beyond the broker's end: its log was cut or restored.
    """
    pending: dict[PartitionId, Range] = {}
    lost: dict[PartitionId, Range] = {}
    for partition, bound in bounds.items():
        start = known.get(partition, bound.low)
        if start > bound.end:
            raise TopicRefusedError(
                partition.topic,
                f"{partition}: the ledger has landed up to offset {start}, but the broker ends at "
                f"{bound.end}. Its log was cut or restored from an older copy. Nothing was landed: "
                "offsets that come again would hold other messages. Recreate the topic for a new id.",
            )
        if start < bound.low:
            lost[partition] = Range(start, bound.low)
            start = bound.low
        end = bound.end if until is None else min(bound.end, until.get(partition.partition, bound.end))
        pending[partition] = Range(start, max(start, end))
    return Plan(pending, lost)


def begin_positions(connection: psycopg.Connection[Any], starts: Mapping[PartitionId, int]) -> None:
    """Write the first position of partitions that have none; the others keep theirs."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into ops.consumer_offsets (consumer, topic, topic_id, kafka_partition, next_offset)
            values (%s, %s, %s, %s, %s)
            on conflict do nothing
            """,
            [
                (CONSUMER, item.topic, item.topic_id, item.partition, offset)
                for item, offset in starts.items()
            ],
        )
