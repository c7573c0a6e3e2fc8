"""The window service: consumes `raw_logs`, counts minutes, judges those that are over, writes signals.

Everything that a batch changes is one transaction with the consumer's position: a kill at any point loses
no line and counts none twice. Add here how the service survives its surroundings. Avoid statistics.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl
import psycopg
from confluent_kafka import KafkaException, Message
from confluent_kafka.admin import AdminClient

from orchestration.ingest.heartbeats import beat, retire
from orchestration.ingest.logs import window_store
from orchestration.ingest.logs.messages import RefusedLine, read_messages
from orchestration.ingest.logs.tenant_windows import Judged, TenantWindows, stages_of
from orchestration.ingest.logs.topic_reader import TopicReader
from orchestration.ingest.logs.window_store import PositionMovedError
from orchestration.ingest.offsets import Bounds, LandingError, PartitionId, broker_bounds, plan
from orchestration.ingest.topics import admin_client
from orchestration.ingest.windows import WINDOW

log = logging.getLogger(__name__)
TOPIC = "raw_logs"
NAME = "service:log-windows"
BATCH_MESSAGES = 20_000
BEAT_EVERY_S = 10.0
BOUNDS_EVERY_S = 5.0
"""How often the broker is asked whether the topic has new partitions or was made anew: 3 small requests."""
LATEST_MS = 4_102_444_800_000
"""2100: a producer can write any time into a message, also one that no calendar has."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
PASSING = (psycopg.Error, KafkaException, LandingError, PositionMovedError, OSError)
POISON = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded, UnicodeError, OverflowError)
"""What a single line can cause and no waiting mends: a value that Postgres or a type has no place for."""


@dataclass
class ServiceCounts:
    """What the service did since its start; `lost` are offsets that retention took before it came to them."""

    lines: int = 0
    refused: int = 0
    lost: int = 0
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
        self._tenants: dict[str, TenantWindows] = {}
        self._beat_due: float | None = None
        self.counts = ServiceCounts()

    def stop(self) -> None:
        """End after the batch at hand."""
        self._stop.set()

    def follow(self) -> None:
        """Run until `stop`; failures of Kafka or Postgres are waited out, ever longer up to 15 s."""
        pause = FIRST_PAUSE_S
        self._beat_due = time.monotonic()
        while not self._stop.is_set():
            try:
                self.run(until_end=False)
                pause = FIRST_PAUSE_S
            except PASSING as error:
                log.warning("log windows pause for %.1f s: %s", pause, error)
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
        self._say_goodbye()

    def run(self, *, until_end: bool, close_tenant: str | None = None) -> ServiceCounts:
        """Consume.

        Args:
            until_end: Return when every partition was read to the end that it had at the start.
            close_tenant: At the end, close this tenant's open windows too: after a replay no later line
                does it.

        Returns:
            Counts since the service was made.
        """
        with psycopg.connect(self._database_url) as connection:
            self._show_life(connection)
            admin = admin_client(self._servers)
            bounds = broker_bounds(admin, [TOPIC])
            starts = self._starts(connection, bounds)
            self._load_tenants(connection)
            reader = TopicReader(self._servers, window_store.CONSUMER, starts)
            try:
                if until_end:
                    self._loop(connection, reader, {p: b.end for p, b in bounds.items()})
                else:
                    self._loop(connection, reader, None, admin)
            finally:
                reader.close()
            if until_end and not self._stop.is_set():
                self._judge(connection, frozenset(), close_tenant)
        return self.counts

    def _load_tenants(self, connection: psycopg.Connection) -> None:
        """What is stored is the truth: a batch that failed must leave nothing behind."""
        self._tenants.clear()
        for tenant_id in window_store.tenants_with_open_windows(connection):
            self._tenants[tenant_id] = TenantWindows(connection, tenant_id)
        connection.commit()  # an open transaction would make those that follow savepoints of it

    def _starts(
        self, connection: psycopg.Connection, bounds: Mapping[PartitionId, Bounds]
    ) -> dict[PartitionId, int]:
        """Where to read on. Positions that retention has passed move up to what the broker still has."""
        found = plan(bounds, window_store.positions(connection, TOPIC))
        for partition, lost in found.lost.items():
            window_store.move_position(connection, partition, lost.lo, lost.hi)
            self.counts.lost += len(lost)
            log.warning(
                "%s: offsets %d to %d were deleted by the topic's retention before they were counted; their "
                "minutes lack those lines. Counting goes on at %d", partition, lost.lo, lost.hi - 1, lost.hi
            )  # fmt: skip
        return {partition: pending.lo for partition, pending in found.pending.items()}

    def _loop(
        self,
        connection: psycopg.Connection,
        reader: TopicReader,
        ends: Mapping[PartitionId, int] | None,
        admin: AdminClient | None = None,
    ) -> None:
        """Read until stopped, until `ends`, or until the broker has other partitions than `reader` reads."""
        bounds_due = time.monotonic() + BOUNDS_EVERY_S
        while not self._stop.is_set():
            if admin is not None and time.monotonic() >= bounds_due:
                if broker_bounds(admin, [TOPIC]).keys() != reader.partitions:
                    log.info("%s has other partitions than before; reading begins anew with them", TOPIC)
                    return
                bounds_due = time.monotonic() + BOUNDS_EVERY_S
            for partition, lo, messages in reader.read(BATCH_MESSAGES):
                self._take_around_poison(connection, partition, lo, messages)
            self._judge(connection, reader.unread)
            self._show_life(connection)
            if ends is not None and reader.has_reached(ends):
                return

    def _take_around_poison(
        self, connection: psycopg.Connection, partition: PartitionId, lo: int, messages: list[Message]
    ) -> None:
        """Take messages; where one of them can't be counted, find it by halves and refuse it alone."""
        try:
            self._take(connection, partition, lo, messages)
        except POISON as error:
            self._load_tenants(connection)
            if len(messages) == 1:
                self._refuse_one(connection, partition, lo, messages[0], error)
                return
            half = len(messages) // 2
            self._take_around_poison(connection, partition, lo, messages[:half])
            middle = (messages[half - 1].offset() or 0) + 1
            self._take_around_poison(connection, partition, middle, messages[half:])

    def _refuse_one(
        self,
        connection: psycopg.Connection,
        partition: PartitionId,
        lo: int,
        message: Message,
        error: Exception,
    ) -> None:
        offset = message.offset() or 0
        why = RefusedLine(
            offset, f"can't be counted: {type(error).__name__}", (message.value() or b"")[:4_096]
        )
        with connection.transaction():
            window_store.move_position(connection, partition, lo, offset + 1)
            window_store.refuse(connection, partition, [why])
        self.counts.refused += 1
        log.warning("%s, offset %d: the line is refused, it %s", partition, offset, why.reason)

    def _take(
        self, connection: psycopg.Connection, partition: PartitionId, lo: int, messages: list[Message]
    ) -> None:
        newest_ms = min(max(item.timestamp()[1] for item in messages), LATEST_MS)
        arrived_at = datetime.fromtimestamp(newest_ms / 1000, UTC)
        offsets = [message.offset() or 0 for message in messages]
        batch = read_messages([message.value() for message in messages], arrived_at)
        late = 0
        with connection.transaction():
            window_store.move_position(connection, partition, lo, offsets[-1] + 1)
            for tenant, lines in batch.lines.group_by("tenant_id"):
                late += self._count(connection, str(tenant[0]), partition.partition, lines, arrived_at)
            if batch.refused:
                window_store.refuse(
                    connection, partition, [replace(item, at=offsets[item.at]) for item in batch.refused]
                )
        self.counts.late += late
        self.counts.lines += batch.lines.height
        self.counts.refused += len(batch.refused)

    def _count(
        self,
        connection: psycopg.Connection,
        tenant_id: str,
        partition: int,
        lines: pl.DataFrame,
        arrived_at: datetime,
    ) -> int:
        if tenant_id not in self._tenants:
            self._tenants[tenant_id] = TenantWindows(connection, tenant_id)
        stages = stages_of(lines, arrived_at, datetime.now(UTC))
        return self._tenants[tenant_id].count(connection, partition, lines, stages)

    def _judge(
        self, connection: psycopg.Connection, unread: frozenset[int], close_tenant: str | None = None
    ) -> None:
        for tenant_id, tenant in list(self._tenants.items()):
            until = tenant.complete_until(unread, datetime.now(UTC))
            if tenant_id == close_tenant and tenant.open:
                until = tenant.open[-1] + WINDOW
            if until is None:
                continue
            for starts_at in tenant.due(until):
                try:
                    with connection.transaction():
                        self._note(tenant.judge(connection, starts_at, until))
                except BaseException:
                    self._tenants.pop(tenant_id)  # it has learned what was not committed
                    raise
                self._show_life(connection)

    def _note(self, judged: Judged) -> None:
        self.counts.windows_closed += judged.windows
        self.counts.alerts += judged.alerts
        self.counts.signals += judged.signals

    def _show_life(self, connection: psycopg.Connection) -> None:
        if self._beat_due is not None and time.monotonic() >= self._beat_due:
            beat(connection, NAME, BEAT_EVERY_S)
            connection.commit()
            self._beat_due = time.monotonic() + BEAT_EVERY_S

    def _say_goodbye(self) -> None:
        try:
            with psycopg.connect(self._database_url) as connection:
                retire(connection, NAME)
        except psycopg.Error as error:
            log.warning("the database did not take the goodbye: %s", error)
