"""One tenant's windows as the service keeps them: counted batch by batch, looked at, judged, closed.

Each method works in the caller's transaction; after one that failed the object is thrown away, since it may
remember what was not committed. Avoid Kafka here, and statistics: `detector` has them.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
import psycopg

from orchestration.ingest.logs import window_store
from orchestration.ingest.logs.evidence import Verdict, WindowLines
from orchestration.ingest.logs.judging import judge_window, look, looks_due
from orchestration.ingest.logs.lines import split_metrics
from orchestration.ingest.signals import write_signals
from orchestration.ingest.windows import ALLOWED_LATENESS, WINDOW, Watermark, aggregate, window_of

log = logging.getLogger(__name__)
Connection = psycopg.Connection
IDLE_CLOSE_S = 10.0
"""Without a new line for so long, the minutes that are over by the clock are closed all the same: a dead
source must not keep its own silence from being judged."""
STORED = -1
"""Stands for the partitions of the lines that a forerunner of this process left open."""


@dataclass(frozen=True)
class Judged:
    """What judging did.

    Attributes:
        windows: Windows closed.
        alerts: Of these and of the looks, how many alert.
        signals: Signals written.
    """

    windows: int = 0
    alerts: int = 0
    signals: int = 0

    def plus(self, other: "Judged") -> "Judged":
        """Both together."""
        return Judged(self.windows + other.windows, self.alerts + other.alerts, self.signals + other.signals)


class TenantWindows:
    """Windows, watermark and detector of one tenant."""

    def __init__(self, connection: Connection, tenant_id: str) -> None:
        """Go on where the database stands."""
        self._tenant_id = tenant_id
        self._memory = window_store.load_memory(connection, tenant_id)
        self._closed_until = window_store.judged_until(connection, tenant_id)
        self._open: dict[datetime, datetime | None] = dict.fromkeys(
            window_store.open_windows(connection, tenant_id)
        )
        self._watermark = Watermark()
        if self._open:
            newest = window_store.peek_open(connection, tenant_id, max(self._open))["event_at"].max()
            assert isinstance(newest, datetime)
            self._watermark = self._watermark.advanced(STORED, newest)
        self._last_line = time.monotonic()
        self._stages: dict[str, float] = {}

    def count(
        self, connection: Connection, partition: int, lines: pl.DataFrame, stages: dict[str, float]
    ) -> int:
        """Count lines into their windows.

        Args:
            connection: Transaction that also moves the partition's position.
            partition: That they come from.
            lines: `messages.COLUMNS`.
            stages: Milliseconds that they needed on their way here, by stage.

        Returns:
            Lines that came after their window was closed.
        """
        named = self._memory.miner.assign(lines)
        window_store.save_templates(connection, self._tenant_id, self._memory.miner, named)
        window_store.add_windows(connection, self._tenant_id, aggregate(named, self._closed_until))
        window_store.add_statements(connection, self._tenant_id, named)
        late = 0
        newest = named["event_at"].max()
        assert isinstance(newest, datetime)
        if self._closed_until is not None:
            late = named.filter(pl.col("event_at") < self._closed_until).height
            named = named.filter(pl.col("event_at") >= self._closed_until)
        for starts_at in window_store.keep_open(connection, self._tenant_id, named):
            self._open.setdefault(starts_at)
        self._watermark = self._watermark.advanced(partition, newest)
        self._last_line = time.monotonic()
        self._stages = stages
        return late

    def complete_until(self, unread: frozenset[int], now: datetime) -> datetime | None:
        """Up to when this tenant's lines are believed complete; None while that is not known.

        Args:
            unread: Partitions that were not read to their end.
            now: The present, for a tenant that has gone silent.
        """
        at = self._watermark.at(unread)
        if at is None or unread or time.monotonic() - self._last_line <= IDLE_CLOSE_S:
            return at
        return max(at, now - ALLOWED_LATENESS)

    def due(self, complete_until: datetime) -> list[datetime]:
        """Windows that can be looked at or closed now, oldest first."""
        return sorted(
            starts_at
            for starts_at, looked_until in self._open.items()
            if starts_at + WINDOW <= complete_until or looks_due(starts_at, complete_until, looked_until)
        )

    @property
    def open(self) -> list[datetime]:
        """Windows that are not closed, oldest first."""
        return sorted(self._open)

    def judge(self, connection: Connection, starts_at: datetime, complete_until: datetime) -> Judged:
        """Look at a window, or close it where it is over."""
        if starts_at + WINDOW <= complete_until:
            return self._close(connection, starts_at)
        until = looks_due(starts_at, complete_until, self._open[starts_at])[-1]
        window = _window(starts_at, window_store.peek_open(connection, self._tenant_id, starts_at))
        self._open[starts_at] = until
        verdict = look(self._memory.detector, window, until)
        return self._write(connection, [verdict] if verdict else [])

    def _close(self, connection: Connection, starts_at: datetime) -> Judged:
        lines = window_store.take_open(connection, self._tenant_id, starts_at)
        looked_until = self._open.pop(starts_at)
        if lines.is_empty():  # another service was quicker
            raise window_store.PositionMovedError(
                f"the minute of {starts_at:%Y-%m-%d %H:%M} of tenant {self._tenant_id} was judged by another "
                "`opsgraph lines windows`. Nothing is lost; let one of them run."
            )
        verdicts = list(judge_window(self._memory.detector, _window(starts_at, lines), looked_until))
        window_store.close_window(connection, self._tenant_id, verdicts[-1])
        self._closed_until = max(self._closed_until or starts_at + WINDOW, starts_at + WINDOW)
        window_store.save_memory(connection, self._tenant_id, self._memory, self._closed_until)
        return self._write(connection, verdicts).plus(Judged(windows=1))

    def _write(self, connection: Connection, verdicts: Iterable[Verdict]) -> Judged:
        alerts = [verdict for verdict in verdicts if verdict.is_alert]
        signals = [
            signal
            for verdict in alerts
            for signal in verdict.signals(self._tenant_id, verdict.judged_at, self._stages)
        ]
        write_signals(connection, signals)
        for verdict in alerts:
            first = verdict.suspects[0]
            log.warning("%s: %s (score %.1f)", self._tenant_id, first.evidence[0].summary, first.score)
        return Judged(0, len(alerts), len(signals))


def stages_of(lines: pl.DataFrame, sent_at: datetime, now: datetime) -> dict[str, float]:
    """How long lines took to Kafka and from there, for those that are of the present.

    Args:
        lines: With `event_at`.
        sent_at: When the newest of them reached the broker.
        now: The present.

    Returns:
        Milliseconds by the names of the alert's stages; empty for lines of the past.
    """
    newest = lines["event_at"].max()
    if not isinstance(newest, datetime) or window_of(newest) < window_of(now) - WINDOW:
        return {}
    return {
        "generation_to_kafka_ms": max((sent_at - newest).total_seconds() * 1000, 0.0),
        "kafka_to_consumer_ms": max((now - sent_at).total_seconds() * 1000, 0.0),
    }


def _window(starts_at: datetime, stored: pl.DataFrame) -> WindowLines:
    lines, metrics = split_metrics(stored)
    return WindowLines(starts_at.astimezone(UTC), starts_at.astimezone(UTC) + WINDOW, lines, metrics)
