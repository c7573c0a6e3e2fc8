"""Reads offset ranges from Kafka as chunks: the messages of one partition and the range they stand for.

Add here what concerns fetching. Avoid payloads: `batch` decodes them. A chunk's range begins where the
partition's last one ended, so offsets without a message (compaction, transaction markers, aborted
transactions) lie inside a range and are counted as absent.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from orchestration.ingest.offsets import LandingError, PartitionId, Range

CONSUME_MESSAGES = 10_000
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.002, 0.05  # the latter is how soon the reader notices that it is to stop
FETCH_QUEUE_KIB = 64 * 1024  # what librdkafka reads ahead; bounds the lander's memory whatever the lag


@dataclass(frozen=True)
class Chunk:
    """Messages of one partition with the offset range that they stand for.

    Attributes:
        partition: Where they come from.
        lo: First offset of the range.
        hi: Offset after the range.
        messages: The messages within it, in offset order; fewer than `hi - lo` where offsets are absent.
        payloads: Payload of each message; None or empty for a tombstone.
    """

    partition: PartitionId
    lo: int
    hi: int
    messages: list[Message]
    payloads: list[bytes | None]


def consumer_settings(bootstrap_servers: str) -> dict[str, str | int | bool]:
    """Settings of librdkafka for reading by assignment."""
    return {
        "bootstrap.servers": bootstrap_servers,
        "group.id": "opsgraph-landing",  # the client asks for one; nothing is committed under it
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",  # an offset that is gone must be accounted for, not skipped
        "isolation.level": "read_committed",
        "queued.max.messages.kbytes": FETCH_QUEUE_KIB,
        "queued.min.messages": 50_000,
        # How long a full read-ahead rests before it asks again. The client's 1,000 ms left both cores idle:
        # reading alone went from 208,000 to 890,000 messages/s with 5 ms.
        "fetch.queue.backoff.ms": 5,
        "fetch.wait.max.ms": 50,
        "fetch.message.max.bytes": 2 * 1024 * 1024,
        "fetch.max.bytes": 32 * 1024 * 1024,
        "check.crcs": False,
    }


@dataclass
class _Progress:
    """Reading position of one partition."""

    partition: PartitionId
    next_lo: int
    seen: int
    target: int | None
    messages: list[Message] = field(default_factory=list[Message])
    payloads: list[bytes | None] = field(default_factory=list["bytes | None"])
    size: int = 0

    @property
    def is_finished(self) -> bool:
        return self.target is not None and self.seen >= self.target

    def take(self) -> Chunk:
        chunk = Chunk(self.partition, self.next_lo, self.seen, self.messages, self.payloads)
        self.next_lo, self.messages, self.payloads, self.size = self.seen, [], [], 0
        return chunk


def _place(partition: PartitionId) -> TopicPartition:
    return TopicPartition(partition.topic, partition.partition)


class RangeReader:
    """Reads assigned ranges and hands out chunks of bounded size."""

    def __init__(
        self,
        bootstrap_servers: str,
        ranges: Mapping[PartitionId, Range],
        is_bounded: bool,
        batch_messages: int,
        batch_bytes: int,
        window_s: float,
    ) -> None:
        """Assign the ranges and start fetching.

        Args:
            bootstrap_servers: `host:port,…` of Kafka.
            ranges: Range of each partition; where reading is not bounded only `lo` counts.
            is_bounded: Whether reading ends at each range's `hi`.
            batch_messages: Messages per chunk, at least one consume call's overshoot aside.
            batch_bytes: Payload bytes after which a chunk is handed out early.
            window_s: Seconds that a message waits for company at most.
        """
        self._progress = {
            (item.topic, item.partition): _Progress(item, span.lo, span.lo, span.hi if is_bounded else None)
            for item, span in ranges.items()
            if len(span) or not is_bounded
        }
        self._is_single_topic = len({topic for topic, _ in self._progress}) == 1
        self._batch_messages, self._batch_bytes, self._window_s = batch_messages, batch_bytes, window_s
        self._window_start: float | None = None
        self._consumer: Consumer | None = None
        self._held: frozenset[PartitionId] = frozenset()
        if self._progress:
            self._consumer = Consumer(consumer_settings(bootstrap_servers))
            self._consumer.assign(
                [TopicPartition(*place, progress.next_lo) for place, progress in self._progress.items()]
            )

    @property
    def is_finished(self) -> bool:
        """Whether every bounded range was read to its end."""
        return all(progress.is_finished for progress in self._progress.values())

    def read(self, is_wanted: bool = True) -> list[Chunk]:
        """Fetch once and return the chunks that are due; empty while the window is open.

        Args:
            is_wanted: Whether the next stage is free. Otherwise chunks go on growing up to their size:
                messages that wait here leave together, those in a queue leave group by group.

        Raises:
            KafkaException: The broker can't be read from now.
            LandingError: An assigned offset no longer exists.
        """
        if self._consumer is None:
            return []
        # The client waits all of the time for all of the messages: it is asked for what is left of the
        # window, which begins with the asking, since the first message may have come right after it.
        asked = time.monotonic()
        left = (
            self._window_s - (asked - self._window_start)
            if self._window_start is not None
            else self._window_s
        )
        timeout = min(max(left, SHORTEST_WAIT_S), LONGEST_WAIT_S) if self._window_s else LONGEST_WAIT_S
        messages = self._consumer.consume(min(CONSUME_MESSAGES, self._batch_messages), timeout)
        if messages:
            self._distribute(messages, asked)
        return self._due(is_wanted)

    def hold(self, partitions: frozenset[PartitionId]) -> None:
        """Leave some partitions alone from now on, and read the others; what was read goes its way."""
        if self._consumer is None or partitions == self._held:
            return
        if begun := [_place(item) for item in self._held - partitions]:
            self._consumer.resume(begun)
        if ended := [_place(item) for item in partitions - self._held]:
            self._consumer.pause(ended)
        self._held = partitions

    def close(self) -> None:
        """Let the fetched messages go and disconnect."""
        if self._consumer is not None:
            self._consumer.close()

    def _distribute(self, messages: list[Message], asked: float) -> None:
        was_waiting = self._window_start is not None
        if any(map(Message.error, messages)):
            good: list[Message] = []
            for message in messages:
                error = message.error()
                if error is None:
                    good.append(message)
                    continue
                # Messages before an end-of-partition event must be placed before its offset is.
                self._place_runs(good)
                good = []
                self._handle(message, error)
            self._place_runs(good)
        else:
            self._place_runs(messages)
        if not was_waiting and self._window_start is not None:
            self._window_start = asked

    def _place_runs(self, messages: list[Message]) -> None:
        """Messages of one partition come in long runs: cut at the borders, not message by message."""
        if not messages:
            return
        places: list[Any] = list(map(Message.partition, messages))
        if not self._is_single_topic:
            places = list(zip(map(Message.topic, messages), places, strict=True))
        start = 0
        for _, run in groupby(places):
            stop = start + len(list(run))
            first = messages[start]
            progress = self._progress[str(first.topic()), int(first.partition() or 0)]
            self._append(progress, messages[start:stop])
            start = stop

    def _append(self, progress: _Progress, run: list[Message]) -> None:
        target = progress.target
        if target is not None and int(run[-1].offset() or 0) >= target:
            run = [message for message in run if int(message.offset() or 0) < target]
            progress.seen = target  # a later offset proves that everything before the target was read
        elif run:
            progress.seen = int(run[-1].offset() or 0) + 1
        payloads: list[bytes | None] = list(map(Message.value, run))
        progress.messages += run
        progress.payloads += payloads
        progress.size += sum(map(len, filter(None, payloads)))
        if self._window_start is None:
            self._window_start = time.monotonic()

    def _handle(self, message: Message, error: KafkaError) -> None:
        place = (str(message.topic()), int(message.partition() or 0))
        if error.code() == KafkaError._PARTITION_EOF:
            progress, end = self._progress[place], int(message.offset() or 0)
            # Offsets up to here that gave no message are transaction markers or compacted away.
            progress.seen = max(progress.seen, end if progress.target is None else min(end, progress.target))
            if progress.seen > progress.next_lo and self._window_start is None:
                self._window_start = time.monotonic()
            return
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise LandingError(
                f"{place[0]}[{place[1]}]: offset {self._progress[place].seen} is no longer on the broker "
                f"({error.str()}): retention moved on, or the topic was recreated. Landing starts again from "
                "the ledger's position and the broker's first offset, and names what is lost."
            )
        raise KafkaException(error)

    def _due(self, is_wanted: bool) -> list[Chunk]:
        waiting = [item for item in self._progress.values() if item.seen > item.next_lo]
        if not waiting:
            return []
        started = self._window_start or 0.0
        is_time = is_wanted and time.monotonic() - started >= self._window_s
        if is_time or self.is_finished:
            due = waiting
        else:
            due = [
                item
                for item in waiting
                if len(item.messages) >= self._batch_messages
                or item.size >= self._batch_bytes
                or item.is_finished
            ]
        chunks = [item.take() for item in due]
        if len(chunks) == len(waiting):
            self._window_start = None
        return chunks
