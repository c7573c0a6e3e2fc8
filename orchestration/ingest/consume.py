"""Reads offset ranges from Kafka as chunks: the messages of one partition and the range they stand for.

Add here when what was fetched is handed on. Avoid brokers (`fetch` asks them) and payloads (`batch`
decodes them). A chunk's range begins where the partition's last one ended, so offsets without a message
(compaction, transaction markers, aborted transactions) lie inside a range and are counted as absent.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from orchestration.ingest.fetch import Fetched, Fetcher, UnreadableBatchError
from orchestration.ingest.kafka_records import Messages, joined
from orchestration.ingest.offsets import PartitionId, Range

LONGEST_WAIT_S = 0.05  # how soon the reader notices that it is to stop
IDLE_S = 0.5  # how long a broker that has nothing new may keep an answer back
WORTH_AN_ANSWER = 1024 * 1024
"""Bytes for which a broker answers within an open window. Otherwise it waits for the window's end: to ask for
each message as it comes costs more than landing it."""
FULL_CHUNKS = 4
"""Chunks of full size that all partitions may hold together: memory must not grow with their number."""
EARLY_S, LATE_S = 0.004, 0.02  # an answer that ends a window is asked for a little before, and waited for


@dataclass(frozen=True)
class Chunk:
    """Messages of one partition with the offset range that they stand for.

    Attributes:
        partition: Where they come from.
        lo: First offset of the range.
        hi: Offset after the range.
        messages: The messages within it; fewer than `hi - lo` where offsets are absent.
    """

    partition: PartitionId
    lo: int
    hi: int
    messages: Messages


@dataclass
class _Progress:
    """Reading position of one partition."""

    partition: PartitionId
    next_lo: int
    seen: int
    target: int | None
    parts: list[Messages] = field(default_factory=list[Messages])
    count: int = 0
    size: int = 0

    @property
    def is_finished(self) -> bool:
        return self.target is not None and self.seen >= self.target

    def add(self, messages: Messages, end: int) -> None:
        """Take what was read up to an offset."""
        if self.target is not None and end > self.target:
            end = self.target
            messages = messages[: int(np.searchsorted(messages.offsets, end))]
        if len(messages):
            self.parts.append(messages)
            self.count += len(messages)
            self.size += int(messages.payloads.sizes.sum())
        self.seen = end

    def take(self, most: int) -> Chunk:
        """The next messages, up to some number; the rest goes on waiting."""
        messages = joined(self.parts)
        hi = int(messages.offsets[most]) if len(messages) > most else self.seen
        chunk = Chunk(self.partition, self.next_lo, hi, messages[:most])
        rest = messages[most:]
        self.next_lo, self.parts, self.count = hi, [rest], len(rest)
        self.size = int(rest.payloads.sizes.sum())
        return chunk


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
        """Take the ranges; nothing is fetched before `read`.

        Args:
            bootstrap_servers: `host:port,…` of Kafka.
            ranges: Range of each partition; where reading is not bounded only `lo` counts.
            is_bounded: Whether reading ends at each range's `hi`.
            batch_messages: Messages per chunk at most.
            batch_bytes: Payload bytes after which a chunk is handed out early.
            window_s: Seconds that a message waits for company at most.
        """
        self._progress = {
            item: _Progress(item, span.lo, span.lo, span.hi if is_bounded else None)
            for item, span in ranges.items()
            if len(span) or not is_bounded
        }
        self._is_bounded = is_bounded
        self._batch_messages, self._batch_bytes, self._window_s = batch_messages, batch_bytes, window_s
        self._window_start: float | None = None
        self._held: frozenset[PartitionId] = frozenset()
        self.unreadable: dict[PartitionId, UnreadableBatchError] = {}
        """Partitions that are read no further, because the next batch of each is damaged."""
        self._fetcher = Fetcher(
            bootstrap_servers, {item: progress.seen for item, progress in self._progress.items()}
        )

    @property
    def is_finished(self) -> bool:
        """Whether every bounded range was read and handed out to its end."""
        return all(
            progress.is_finished and progress.next_lo == progress.seen for progress in self._progress.values()
        )

    def read(self, is_wanted: bool = True) -> list[Chunk]:
        """Fetch once and return the chunks that are due; empty while the window is open.

        Args:
            is_wanted: Whether the next stage is free. Otherwise chunks go on growing up to their size:
                messages that wait here leave together, those in a queue leave group by group.

        Raises:
            KafkaException: A broker refuses.
            LandingError: An assigned offset no longer exists.
        """
        if not self._progress:
            return []
        if not (self._is_enough() or any(map(self._is_full, self._progress.values()))):
            try:
                for item in self._fetch():
                    self._add(item)
            except UnreadableBatchError as error:  # what comes before it goes its way, so do the others
                self._give_up(error)
        return self._due(is_wanted)

    def hold(self, partitions: frozenset[PartitionId]) -> None:
        """Leave some partitions alone from now on, and read the others; what was read goes its way."""
        if partitions != self._held:
            self._held = partitions
            self._leave_out()

    def close(self) -> None:
        """Disconnect."""
        self._fetcher.close()

    def _fetch(self) -> list[Fetched]:
        if self._is_bounded:
            return self._fetcher.fetch(LONGEST_WAIT_S)
        if self._window_start is None:
            return self._fetcher.fetch(LONGEST_WAIT_S, patience_s=IDLE_S)
        left = min(max(self._window_start + self._window_s - time.monotonic(), LATE_S), 4 * LONGEST_WAIT_S)
        return self._fetcher.fetch(left + LATE_S, WORTH_AN_ANSWER, left - EARLY_S)

    def _add(self, fetched: Fetched) -> None:
        progress = self._progress[fetched.partition]
        progress.add(fetched.messages, fetched.end)
        if progress.is_finished:
            self._leave_out()
        if self._window_start is None:
            self._window_start = time.monotonic()

    def _give_up(self, error: UnreadableBatchError) -> None:
        self.unreadable[error.partition] = error
        progress = self._progress[error.partition]
        if self._is_bounded:
            progress.target = progress.seen
        self._leave_out()

    def _leave_out(self) -> None:
        finished = {item for item, progress in self._progress.items() if progress.is_finished}
        self._fetcher.leave_out(self._held | finished | self.unreadable.keys())

    def _due(self, is_wanted: bool) -> list[Chunk]:
        waiting = [item for item in self._progress.values() if item.seen > item.next_lo]
        if not waiting:
            return []
        started = self._window_start or 0.0
        is_time = is_wanted and time.monotonic() - started >= self._window_s - EARLY_S
        due = (
            waiting
            if is_time or self._is_enough()
            else [item for item in waiting if self._is_full(item) or item.is_finished]
        )
        chunks = [item.take(self._batch_messages) for item in due]
        if not any(item.seen > item.next_lo for item in waiting):
            self._window_start = None
        return chunks

    def _is_full(self, item: _Progress) -> bool:
        return item.count >= self._batch_messages or item.size >= self._batch_bytes

    def _is_enough(self) -> bool:
        """Whether all partitions together hold what they may."""
        count, size = 0, 0
        for item in self._progress.values():
            count, size = count + item.count, size + item.size
        return count >= FULL_CHUNKS * self._batch_messages or size >= FULL_CHUNKS * self._batch_bytes
