"""Fetches record batches of assigned partitions as the broker keeps them.

kafka-python keeps connections, metadata and versions; what it would make of each record is not used:
`kafka_records` reads the batches as columns, at a quarter of the cost of an object per message. Add here
what concerns asking brokers. Avoid windows and chunks: `consume` has them.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeArgument=false

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import kafka.errors as kafka_errors
from confluent_kafka import KafkaError, KafkaException
from kafka.future import Future
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.protocol.consumer import FetchRequest
from kafka.structs import TopicPartition

from orchestration.ingest.kafka_records import (
    NO_MESSAGES,
    Aborted,
    Messages,
    RecordFormatError,
    end_of,
    read_records,
    readable_part,
)
from orchestration.ingest.offsets import LandingError, PartitionId, TopicRefusedError

log = logging.getLogger(__name__)
READ_COMMITTED = 1
PARTITION_BYTES, ANSWER_BYTES = 2 * 1024 * 1024, 8 * 1024 * 1024  # compressed; bounds the memory of a reader
LARGEST_FRAME = (1 << 31) - 1  # a single batch may be larger than what was asked for
FIRST_VERSION, NEWEST_VERSION = 4, 16  # what Kafka 0.11 and 4.x speak
WITH_TOPIC_IDS = 13  # from then on a recreated topic can't be taken for its predecessor
AGAIN_S, LONGEST_AGAIN_S = 0.1, 1.0
UNKNOWN_AFTER_S = 10.0  # a topic that was just made, or a broker that just started, takes a moment
CERTAIN_AFTER, CERTAIN_AFTER_S = 5, 10.0
"""Answers without anything, and the time over which they came. A broker that has anything to read sends some
of it, unless it is held up: one with tiered storage leaves out what its store has not given it in 0.5 s."""

_UNKNOWN = (
    kafka_errors.UnknownTopicOrPartitionError, kafka_errors.UnknownTopicIdError,
    kafka_errors.InconsistentTopicIdError,
)  # fmt: skip
_MOVING = (
    kafka_errors.LeaderNotAvailableError, kafka_errors.NotLeaderForPartitionError,
    kafka_errors.ReplicaNotAvailableError, kafka_errors.KafkaStorageError,
    kafka_errors.FencedLeaderEpochError, kafka_errors.UnknownLeaderEpochError,
)  # fmt: skip
"""A partition changes its leader: it has one again in a moment."""


@dataclass(frozen=True)
class Fetched:
    """What was read of one partition.

    Attributes:
        partition: Which.
        messages: In the order of their offsets.
        end: Offset up to which everything was read: what is not among the messages does not exist.
    """

    partition: PartitionId
    messages: Messages
    end: int


class UnreadableBatchError(TopicRefusedError):
    """A partition can't be read from an offset on: what the broker keeps there is damaged."""

    def __init__(self, partition: PartitionId, offset: int, reason: str) -> None:
        """Say where and why."""
        super().__init__(
            partition.topic,
            f"{partition}: offset {offset} can't be read: {reason}. Nothing from there on was landed. If the "
            "broker has no whole copy, delete the records up to the end of that batch "
            "(kafka-delete-records): landing then counts them as absent, says so, and goes on.",
        )
        self.partition, self.offset = partition, offset


class Fetcher:
    """Reads partitions from positions of its own, one request per broker at a time. For one thread."""

    def __init__(self, bootstrap_servers: str, positions: Mapping[PartitionId, int]) -> None:
        """Take the positions; nothing is asked before `fetch`."""
        self._positions = dict(positions)
        self._network = NetworkSelector()
        self._connections = KafkaConnectionManager(
            self._network, bootstrap_servers=bootstrap_servers, client_id="opsgraph-landing",
            receive_message_max_bytes=LARGEST_FRAME, reconnect_backoff_max_ms=1_000,
        )  # fmt: skip
        self._connections.cluster.config["allow_auto_create_topics"] = False
        for topic in {item.topic for item in positions}:
            self._connections.cluster.add_topic(topic)  # pyright: ignore[reportAttributeAccessIssue]
        self._client = KafkaNetClient(self._network, self._connections)
        self._asked: dict[int, tuple[Future, dict[PartitionId, int]]] = {}
        self._left_out: set[PartitionId] = set()
        self._again_at = 0.0
        self._failures = 0
        self._unknown_since: dict[PartitionId, float] = {}
        self._empty: dict[PartitionId, tuple[int, float]] = {}

    def leave_out(self, partitions: Collection[PartitionId]) -> None:
        """Ask for all partitions but these from now on."""
        self._left_out = set(partitions)

    def fetch(self, timeout_s: float, least_bytes: int = 1, patience_s: float | None = None) -> list[Fetched]:
        """What brokers answer within some time; asks those that have not been asked yet.

        Args:
            timeout_s: How long to wait for an answer.
            least_bytes: Fewer than these a broker keeps back for a while.
            patience_s: For how long; by default until the timeout.

        Raises:
            LandingError: A position no longer exists, or the topic was recreated.
            UnreadableBatchError: The next batch of a partition is damaged; leave that partition out and
                fetch again for the others.
            KafkaException: A broker refuses.
        """
        deadline = time.monotonic() + timeout_s
        if not self._is_connected(timeout_s):
            return []
        self._ask(least_bytes, timeout_s if patience_s is None else patience_s)
        while not (done := [node for node, (future, _) in self._asked.items() if future.is_done]):
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            self._client.poll(timeout_ms=left * 1000)
        return [item for node in done for item in self._taken(node)]

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def _is_connected(self, timeout_s: float) -> bool:
        """Whether a broker has answered, and it is time to ask again after a failure."""
        if time.monotonic() < self._again_at:
            time.sleep(max(min(timeout_s, self._again_at - time.monotonic()), 0.0))
            return False
        if not self._connections.bootstrapped:
            try:
                self._connections.bootstrap(timeout_ms=1_000)
            except (kafka_errors.KafkaError, OSError) as error:
                self._rest(error)
                return False
        return True

    def _rest(self, error: BaseException) -> None:
        """Ask nobody for a moment: a broker restarts, or a partition changes its leader."""
        self._failures += 1
        self._again_at = time.monotonic() + min(AGAIN_S * self._failures, LONGEST_AGAIN_S)
        log.debug("fetching goes on at once when Kafka answers: %s", error)

    def _ask(self, least_bytes: int, patience_s: float) -> None:
        cluster = self._connections.cluster
        wanted: dict[int, dict[PartitionId, int]] = {}
        for partition, position in self._positions.items():
            if partition in self._left_out:
                continue
            leader = cluster.leader_for_partition(TopicPartition(partition.topic, partition.partition))
            if leader is None or leader < 0:
                self._is_unknown(partition)
                cluster.request_update()
            elif leader not in self._asked:
                wanted.setdefault(leader, {})[partition] = position
        for leader, positions in wanted.items():
            if self._connections.connection_delay(leader) > 0:
                continue
            request = _request(positions, least_bytes, patience_s)
            self._asked[leader] = (self._client.send(leader, request), positions)

    def _taken(self, node: int) -> list[Fetched]:
        future, asked = self._asked.pop(node)
        if future.failed():
            error = future.exception
            if not isinstance(error, kafka_errors.KafkaError):
                raise LandingError(f"what broker {node} answered can't be read: {error!r}") from error
            self._connections.cluster.request_update()
            self._rest(error)
            return []
        self._failures = 0
        if future.value.error_code:
            reason = kafka_errors.for_code(future.value.error_code).__name__
            raise KafkaException(KafkaError(future.value.error_code, f"broker {node}: {reason}"))
        answers = _by_partition(future.value, asked)
        is_empty = not any(answer.records or answer.error_code for answer in answers.values())
        read: list[Fetched] = []
        for partition, answer in answers.items():
            start = asked[partition]
            # A partition that changed its leader was asked for at both: the second answer comes too late.
            if partition in self._left_out or self._positions[partition] != start:
                continue
            if answer.error_code:
                self._failed(partition, answer.error_code)
                continue
            self._unknown_since.pop(partition, None)
            if answer.records:
                read.append(_read(partition, answer, start))
            elif is_empty and answer.last_stable_offset > start:
                end = self._end_of_nothing(partition, answer.last_stable_offset)
                if end is not None:
                    read.append(Fetched(partition, NO_MESSAGES, end))
        # Those that gave something go to the end: a broker fills its answer in the order of the request.
        for item in read:
            self._empty.pop(item.partition, None)
            del self._positions[item.partition]
            self._positions[item.partition] = item.end
        return read

    def _end_of_nothing(self, partition: PartitionId, last_stable_offset: int) -> int | None:
        """The end of offsets that hold nothing any more (compacted away), once several answers say so."""
        now = time.monotonic()
        count, since = self._empty.get(partition, (0, now))
        self._empty[partition] = count + 1, since
        if count + 1 < CERTAIN_AFTER or now - since < CERTAIN_AFTER_S:
            self._again_at = now + AGAIN_S  # such an answer comes at once
            return None
        log.warning(
            "%s: the broker has nothing between offset %d and %d; compaction took it",
            partition, self._positions[partition], last_stable_offset,
        )  # fmt: skip
        return last_stable_offset

    def _failed(self, partition: PartitionId, code: int) -> None:
        position = self._positions[partition]
        error = kafka_errors.for_code(code)
        if issubclass(error, kafka_errors.OffsetOutOfRangeError):
            raise LandingError(
                f"{partition}: offset {position} is no longer on the broker: retention moved on, or the "
                "topic was recreated. Landing starts again from the ledger's position and the broker's first "
                "offset, and names what is lost."
            )
        if not issubclass(error, (*_UNKNOWN, *_MOVING)):
            raise KafkaException(KafkaError(code, f"{partition}: {error.__name__}"))
        if issubclass(error, _UNKNOWN):
            self._is_unknown(partition)
        self._connections.cluster.request_update()
        self._rest(error(str(partition)))

    def _is_unknown(self, partition: PartitionId) -> None:
        since = self._unknown_since.setdefault(partition, time.monotonic())
        if time.monotonic() - since > UNKNOWN_AFTER_S:
            raise LandingError(
                f"{partition}: no broker knows the topic under the id {partition.topic_id} and leads this "
                f"partition, for {UNKNOWN_AFTER_S:g} s: it was deleted or recreated, or its broker is away. "
                "What was landed stays; landing starts again with what is there."
            )


def _by_partition(value: Any, asked: Collection[PartitionId]) -> dict[PartitionId, Any]:
    has_ids = value.API_VERSION >= WITH_TOPIC_IDS
    known = {(item.topic_id if has_ids else item.topic, item.partition): item for item in asked}
    answers: dict[PartitionId, Any] = {}
    for topic in value.responses:
        for answer in topic.partitions:
            partition = known.get((topic.topic_id if has_ids else topic.topic, answer.partition_index))
            if partition is not None:
                answers[partition] = answer
    return answers


def _read(partition: PartitionId, answer: Any, start: int) -> Fetched:
    """What an answer holds before the first batch that can't be read: the next one begins with that."""
    aborted = [Aborted(item.producer_id, item.first_offset) for item in answer.aborted_transactions or ()]
    try:
        return _fetched(partition, answer.records, start, aborted)
    except RecordFormatError as error:
        readable = readable_part(answer.records)
        if (end_of(readable) or 0) <= start:
            raise UnreadableBatchError(partition, start, str(error)) from error
    return _fetched(partition, readable, start, aborted)


def _fetched(partition: PartitionId, records: bytes, start: int, aborted: Sequence[Aborted]) -> Fetched:
    end = end_of(records)
    if end is None or end <= start:  # a broker never cuts the first batch off
        raise RecordFormatError(f"no batch of {len(records)} bytes reaches it: the head of one is damaged")
    return Fetched(partition, read_records(records, start, aborted), end)


def _request(positions: Mapping[PartitionId, int], least_bytes: int, patience_s: float) -> FetchRequest:
    topics: dict[PartitionId, Any] = {}
    for partition, position in positions.items():
        key = PartitionId(partition.topic, partition.topic_id, -1)
        if key not in topics:
            topics[key] = FetchRequest.FetchTopic(
                topic=partition.topic, topic_id=partition.topic_id, partitions=[]
            )
        topics[key].partitions.append(
            FetchRequest.FetchTopic.FetchPartition(
                partition=partition.partition, fetch_offset=position, partition_max_bytes=PARTITION_BYTES
            )
        )
    return FetchRequest(
        max_wait_ms=max(int(patience_s * 1000), 0), min_bytes=least_bytes, max_bytes=ANSWER_BYTES,
        isolation_level=READ_COMMITTED, topics=list(topics.values()),
        min_version=FIRST_VERSION, max_version=NEWEST_VERSION,
    )  # fmt: skip
