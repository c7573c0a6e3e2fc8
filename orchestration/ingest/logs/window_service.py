"""The window service: consumes `raw_logs`, counts minutes, judges those that are over, writes signals.

Everything that a batch changes is one transaction with the consumer's position: a kill at any point loses
no line and counts none twice. Add here how the service survives its surroundings. Avoid statistics.
"""

import logging
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from orchestration.ingest.logs import window_store
from orchestration.ingest.logs.evidence import WindowLines
from orchestration.ingest.logs.messages import read_messages
from orchestration.ingest.logs.window_store import Memory, PositionMovedError
from orchestration.ingest.offsets import LandingError, PartitionId, broker_bounds
from orchestration.ingest.signals import write_signals
from orchestration.ingest.windows import WINDOW, Watermark, aggregate, closable

log = logging.getLogger(__name__)
TOPIC = "raw_logs"
BATCH_MESSAGES, BATCH_WAIT_S = 20_000, 0.5
IDLE_CLOSE_S = 10.0
"""Without a new line for so long, the last window is closed all the same, once its minute is over: a dead
source must not keep its own silence from being judged."""
SIGNAL_SCORE = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
PASSING = (psycopg.Error, KafkaException, LandingError, PositionMovedError, OSError)


@dataclass
class ServiceCounts:
    """What the service did since its start."""

    lines: int = 0
    refused: int = 0
    late: int = 0
    windows_closed: int = 0
    alerts: int = 0
    signals: int = 0


class WindowService:
    """Counts and judges until `stop`, or until the topic's end is reached."""

    def __init__(self, database_url: str, bootstrap_servers: str) -> None:
        """Set up; nothing is read before `run`."""
        self._database_url, self._servers = database_url, bootstrap_servers
        self._stop = threading.Event()
        self._memories: dict[str, Memory] = {}
        self._watermark = Watermark()
        self.counts = ServiceCounts()

    def stop(self) -> None:
        """End after the batch at hand."""
        self._stop.set()

    def follow(self) -> None:
        """Run until `stop`; failures of Kafka or Postgres are waited out, ever longer up to 15 s."""
        pause = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                self.run(until_end=False)
                pause = FIRST_PAUSE_S
            except PASSING as error:
                log.warning("log windows pause for %.1f s: %s", pause, error)
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)

    def run(self, *, until_end: bool, close_all: bool = False) -> ServiceCounts:
        """Consume.

        Args:
            until_end: Return when every partition was read to the end that it had at the start.
            close_all: At the end, close the open windows too: a replay has no later line to do it.

        Returns:
            Counts since the service was made.
        """
        self._memories.clear()  # what is stored is the truth: a batch that failed must leave nothing behind
        bounds = broker_bounds(AdminClient({"bootstrap.servers": self._servers}), [TOPIC])
        with psycopg.connect(self._database_url) as connection:
            known = window_store.positions(connection, TOPIC)
            self._watermark = _stored_watermark(connection)
            connection.commit()
            starts = {p: max(known.get((p.topic_id, p.partition), b.low), b.low) for p, b in bounds.items()}
            ends = {p: b.end for p, b in bounds.items()}
            reader = _Reader(self._servers, starts)
            try:
                self._loop(connection, reader, ends if until_end else None)
            finally:
                reader.close()
            if close_all:
                self._close(connection, datetime.max.replace(tzinfo=UTC))
        return self.counts

    def _loop(
        self, connection: psycopg.Connection, reader: "_Reader", ends: dict[PartitionId, int] | None
    ) -> None:
        last_line = time.monotonic()
        while not self._stop.is_set():
            batches = reader.read()
            for partition, lo, messages in batches:
                self._take(connection, partition, lo, messages)
                last_line = time.monotonic()
            idle = reader.idle
            is_idle = time.monotonic() - last_line > IDLE_CLOSE_S
            mark = self._watermark.at(idle)
            if mark is not None and (batches or is_idle):
                self._close(connection, mark + (WINDOW if is_idle else timedelta()))
            if ends is not None and all(reader.position(p) >= end for p, end in ends.items()):
                return

    def _take(
        self, connection: psycopg.Connection, partition: PartitionId, lo: int, messages: list[Message]
    ) -> None:
        arrived_ms = max(message.timestamp()[1] for message in messages)
        hi = (messages[-1].offset() or 0) + 1
        offsets = [message.offset() or 0 for message in messages]
        batch = read_messages(
            [message.value() for message in messages], datetime.fromtimestamp(arrived_ms / 1000, UTC)
        )
        with connection.transaction():
            window_store.move_position(connection, partition, lo, hi)
            for tenant, lines in batch.lines.group_by("tenant_id"):
                self._count(connection, str(tenant[0]), lines)
            if batch.refused:
                window_store.refuse(connection, partition, 0, [
                    type(item)(offsets[item.at], item.reason, item.payload) for item in batch.refused
                ])  # fmt: skip
            newest = batch.lines["event_at"].max()
            if isinstance(newest, datetime):
                mark = self._watermark.advanced(partition.partition, newest)
                _store_watermark(connection, partition, dict(mark.newest)[partition.partition])
                self._watermark = mark
        self.counts.lines += batch.lines.height
        self.counts.refused += len(batch.refused)

    def _count(self, connection: psycopg.Connection, tenant_id: str, lines: pl.DataFrame) -> None:
        memory = self._memory(connection, tenant_id)
        named = memory.miner.assign(lines)
        window_store.save_templates(connection, tenant_id, memory.miner, named)
        closed_until = _closed_until(connection, tenant_id)
        windows = aggregate(named, closed_until)
        window_store.add_windows(connection, tenant_id, windows)
        window_store.add_statements(connection, tenant_id, named)
        if closed_until is not None:
            self.counts.late += named.filter(pl.col("event_at") < closed_until).height
            named = named.filter(pl.col("event_at") >= closed_until)
        window_store.keep_open(connection, tenant_id, named)

    def _memory(self, connection: psycopg.Connection, tenant_id: str) -> Memory:
        if tenant_id not in self._memories:
            self._memories[tenant_id] = window_store.load_memory(connection, tenant_id)
        return self._memories[tenant_id]

    def _close(self, connection: psycopg.Connection, watermark: datetime) -> None:
        waiting: dict[str, list[datetime]] = defaultdict(list)
        with connection.transaction():
            for tenant_id, starts_at in window_store.open_windows(connection):
                waiting[tenant_id].append(starts_at)
        for tenant_id, starts in waiting.items():
            for starts_at in closable(starts, watermark) if watermark.year < 9000 else sorted(starts):
                try:
                    with connection.transaction():
                        self._judge(connection, tenant_id, starts_at)
                except BaseException:
                    self._memories.pop(tenant_id, None)  # it has learned what was not committed
                    raise

    def _judge(self, connection: psycopg.Connection, tenant_id: str, starts_at: datetime) -> None:
        memory = self._memory(connection, tenant_id)
        lines = window_store.take_open(connection, tenant_id, starts_at)
        verdict = memory.detector.close(WindowLines(starts_at, starts_at + WINDOW, lines))
        window_store.close_window(connection, tenant_id, verdict)
        window_store.save_memory(connection, tenant_id, memory, starts_at + WINDOW)
        self.counts.windows_closed += 1
        if verdict.is_alert:
            signals = verdict.signals(tenant_id, starts_at + WINDOW, SIGNAL_SCORE)
            write_signals(connection, signals)
            self.counts.alerts += 1
            self.counts.signals += len(signals)
            first = verdict.suspects[0]
            log.warning("%s: %s (score %.1f)", tenant_id, first.evidence[0].summary, first.score)


def _closed_until(connection: psycopg.Connection, tenant_id: str) -> datetime | None:
    row = connection.execute(
        "select judged_until from logs.detector_state where tenant_id = %s", (tenant_id,)
    ).fetchone()
    return row[0] if row else None


def _stored_watermark(connection: psycopg.Connection) -> Watermark:
    rows = connection.execute("select kafka_partition, newest_event_at from logs.service_state").fetchall()
    return Watermark(tuple(sorted((int(partition), at) for partition, at in rows)))


def _store_watermark(connection: psycopg.Connection, partition: PartitionId, newest: datetime) -> None:
    connection.execute(
        "insert into logs.service_state (topic_id, kafka_partition, newest_event_at) values (%s, %s, %s) "
        "on conflict (topic_id, kafka_partition) do update set newest_event_at = excluded.newest_event_at",
        (partition.topic_id, partition.partition, newest),
    )


class _Reader:
    """Reads assigned partitions from given offsets; knows which of them have nothing left."""

    def __init__(self, servers: str, starts: dict[PartitionId, int]) -> None:
        self._partitions = {partition.partition: partition for partition in starts}
        self._next = dict(starts)
        self._idle: set[int] = set()
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers, "group.id": window_store.CONSUMER, "enable.auto.commit": False,
                "auto.offset.reset": "earliest", "enable.partition.eof": True, "log_level": 3,
                "isolation.level": "read_committed",
            }
        )  # fmt: skip
        self._consumer.assign([TopicPartition(p.topic, p.partition, at) for p, at in starts.items()])

    @property
    def idle(self) -> frozenset[int]:
        """Partitions that were read to their end."""
        return frozenset(self._idle)

    def position(self, partition: PartitionId) -> int:
        """Next offset to read; past control records at the end."""
        if partition.partition in self._idle:
            return 2**62
        return self._next[partition]

    def read(self) -> list[tuple[PartitionId, int, list[Message]]]:
        """(partition, position before, messages in order) of what came within half a second."""
        by_partition: dict[int, list[Message]] = defaultdict(list)
        for message in self._consumer.consume(BATCH_MESSAGES, BATCH_WAIT_S):
            number = message.partition() or 0
            error = message.error()
            if error is None:
                by_partition[number].append(message)
                self._idle.discard(number)
            elif error.code() == -191:  # end of the partition
                self._idle.add(number)
            else:
                raise KafkaException(error)
        found: list[tuple[PartitionId, int, list[Message]]] = []
        for number, messages in by_partition.items():
            partition = self._partitions[number]
            found.append((partition, self._next[partition], messages))
            self._next[partition] = (messages[-1].offset() or 0) + 1
        return found

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
