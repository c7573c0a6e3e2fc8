"""One day of logs, again: minutes recounted from what was landed, and how complete the windows are.

Dagster's daily partitions of the logs call this; the services work by the minute. Add a figure of a day here.
Avoid detection: a detector needs the days before, and the window service has them.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl
import psycopg

from orchestration.ingest.heartbeats import is_alive
from orchestration.ingest.logs.window_service import NAME, WindowService
from orchestration.ingest.logs.window_store import PositionMovedError, add_windows
from orchestration.ingest.windows import ALL_SOURCES, aggregate

Connection = psycopg.Connection[Any]
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Day:
    """A day of event time: [starts_at, ends_at) in UTC."""

    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class WindowDay:
    """Windows of a day.

    Attributes:
        windows: Closed minutes over all sources and tenants.
        lines: Lines in them.
        late_lines: Of these, folded in after their window had closed.
        landed: Rows of `raw.raw_logs` in the same minutes.
        short_minutes: Closed minutes that hold fewer lines than were landed.
        spikes: Minutes that the mission's rule calls a spike.
    """

    windows: int
    lines: int
    late_lines: int
    landed: int
    short_minutes: int
    spikes: int

    @property
    def is_complete(self) -> bool:
        """Whether no landed line is missing from its closed window."""
        return self.short_minutes == 0


@dataclass(frozen=True)
class TemplateDay:
    """Templates of a day: those known by its end, those first seen in it, those with one line."""

    known: int
    new: int
    seen_once: int


def day_of(partition_key: str) -> Day:
    """The day of a partition key, `2026-03-02`."""
    begin = datetime.combine(date.fromisoformat(partition_key), time(), UTC)
    return Day(begin, begin + timedelta(days=1))


def catch_up(database_url: str, bootstrap_servers: str) -> int:
    """Count and judge what waits in the topic, unless the window service is at it.

    Returns:
        Lines counted; 0 where the service lives, or moved the position meanwhile: it counts them.
    """
    with psycopg.connect(database_url) as connection:
        if is_alive(connection, NAME):
            return 0
    service = WindowService(database_url, bootstrap_servers)
    try:
        return service.run(until_end=True).lines
    except PositionMovedError:
        return 0


def fill_windows(connection: Connection, day: Day) -> int:
    """Count the landed lines of minutes that the window service went past without counting them.

    That happens when a topic's retention took lines that had been landed. A minute that has a window is left
    alone, since its lines were counted by their offsets, and so is the last hour: late lines may still come.

    Returns:
        Minutes filled.
    """
    filled = 0
    begin = day.starts_at
    while begin < day.ends_at:  # an hour at a time: a day of 1,000 lines/s would not fit into memory
        filled += _fill_hour(connection, begin, begin + HOUR)
        begin += HOUR
    return filled


def window_day(connection: Connection, day: Day) -> WindowDay:
    """Compare the closed windows of a day with what was landed in the same minutes."""
    row = connection.execute(
        """
        with closed as (
            select tenant_id, starts_at, lines, late_lines, is_spike from logs.windows
            where source = %(all)s and closed_at is not null
                and starts_at >= %(begin)s and starts_at < %(end)s
        ), landed as (
            select tenant_id, date_trunc('minute', event_at) as starts_at, count(*) as lines
            from raw.raw_logs where event_at >= %(begin)s and event_at < %(end)s group by 1, 2
        )
        select count(*), coalesce(sum(closed.lines), 0)::bigint, coalesce(sum(late_lines), 0)::bigint,
            coalesce(sum(landed.lines), 0)::bigint,
            count(*) filter (where landed.lines > closed.lines), count(*) filter (where is_spike)
        from closed left join landed using (tenant_id, starts_at)
        """,
        {"all": ALL_SOURCES, "begin": day.starts_at, "end": day.ends_at},
    ).fetchone()
    assert row is not None
    return WindowDay(*row)


def template_day(connection: Connection, day: Day) -> TemplateDay:
    """How many templates were known, new and seen once by the end of a day."""
    row = connection.execute(
        """
        select count(*), count(*) filter (where first_seen_at >= %(begin)s), count(*) filter (where lines = 1)
        from logs.templates where first_seen_at < %(end)s
        """,
        {"begin": day.starts_at, "end": day.ends_at},
    ).fetchone()
    assert row is not None
    return TemplateDay(*row)


def watermark_lag(connection: Connection) -> timedelta:
    """How far the judged windows are behind the newest landed line, for the slowest tenant."""
    row = connection.execute(
        """
        select coalesce(max(newest.at - coalesce(state.judged_until, newest.at)), interval '0')
        from (
            select tenant_id, max(max_event_at) as at from ops.event_watermarks
            where topic = 'raw_logs' group by tenant_id
        ) as newest
        left join logs.detector_state state using (tenant_id)
        """
    ).fetchone()
    return row[0] if row else timedelta(0)


def _fill_hour(connection: Connection, begin: datetime, end: datetime) -> int:
    rows = connection.execute(
        """
        select tenant_id, event_at, source, level, response_time_ms, is_anomaly from raw.raw_logs line
        where event_at >= %(begin)s and event_at < %(end)s and not exists (
            select from logs.windows known
            where known.tenant_id = line.tenant_id and known.source = %(all)s
                and known.starts_at = date_trunc('minute', line.event_at)
        ) and exists (
            select from logs.detector_state state
            where state.tenant_id = line.tenant_id and state.judged_until > line.event_at + interval '1 hour'
        )
        """,
        {"begin": begin, "end": end, "all": ALL_SOURCES},
    ).fetchall()
    if not rows:
        return 0
    schema = {
        "tenant_id": pl.String,
        "event_at": pl.Datetime("us", "UTC"),
        "source": pl.String,
        "level": pl.String,
        "response_time_ms": pl.Float64,
        "is_anomaly": pl.Boolean,
    }
    lines = pl.DataFrame(rows, schema=schema, orient="row")
    filled = 0
    for (tenant_id,), part in lines.group_by("tenant_id"):
        windows = aggregate(part, None)
        add_windows(connection, str(tenant_id), windows)
        starts = sorted({window.starts_at for window in windows})
        connection.execute(
            "update logs.windows set closed_at = clock_timestamp() "
            "where tenant_id = %s and starts_at = any(%s) and closed_at is null",
            (str(tenant_id), starts),
        )
        filled += len(starts)
    return filled
