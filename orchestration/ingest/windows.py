"""One-minute tumbling windows over log lines, by event time: pure, without Kafka or Postgres.

Aggregates add up: a window is the sum of its parts, so late lines are folded in by adding them, and a
restart needs nothing but what was stored. Add an aggregate here if it can be added up. Avoid detection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

WINDOW = timedelta(minutes=1)
ALLOWED_LATENESS = timedelta(seconds=5)
"""How far behind the newest line a line may be and still find its window open: a broker's and a collector's
flush interval. Later ones are counted as late and folded in by a correction."""
MOST_AHEAD = timedelta(minutes=10)
"""How far ahead of its arrival a line's own time may be; one line from 2098 would close every window."""
ALL_SOURCES = ""
"""Source of the windows over all sources; a contract's source is never empty."""
ERROR_LEVELS = ("ERROR", "CRITICAL")
RESPONSE_BINS = 96
"""Bins of response times: 4 to the octave from 0.1 ms to 28 min, so a p95 is right to 19 %."""
_BINS_PER_OCTAVE, _SHORTEST_MS = 4, 0.1


@dataclass(frozen=True)
class Window:
    """Aggregates of one source (or all) in one minute.

    Attributes:
        source: Source, or `ALL_SOURCES`.
        starts_at: First instant (UTC).
        lines: Lines.
        errors: Of these, ERROR and CRITICAL.
        anomalies: Of these, flagged by a generator; kept apart, no detector reads it.
        responses: Lines that report a response time.
        response_sum_ms: Their sum.
        response_bins: (96,) their histogram; empty where there are none.
        late_lines: Lines that came after the window had closed.
    """

    source: str
    starts_at: datetime
    lines: int
    errors: int
    anomalies: int
    responses: int
    response_sum_ms: float
    response_bins: tuple[int, ...] = ()
    late_lines: int = 0

    @property
    def mean_response_ms(self) -> float | None:
        """Mean response time; None without any."""
        return self.response_sum_ms / self.responses if self.responses else None

    @property
    def p95_response_ms(self) -> float | None:
        """95th percentile of the response times from the histogram; None without any."""
        return response_quantile_ms(self.response_bins, 0.95)


def response_quantile_ms(bins: Sequence[int], share: float) -> float | None:
    """Upper edge of the bin that holds a quantile.

    Args:
        bins: Histogram as in `Window.response_bins`.
        share: In (0, 1].
    """
    total = sum(bins)
    if not total:
        return None
    at = int(np.searchsorted(np.cumsum(bins), share * total))
    return _SHORTEST_MS * 2.0 ** ((at + 1) / _BINS_PER_OCTAVE)


def aggregate(lines: pl.DataFrame, closed_until: datetime | None) -> list[Window]:
    """Add lines up by window and source, and over all sources.

    Args:
        lines: `event_at, source, level, response_time_ms, is_anomaly`.
        closed_until: Windows that end by then were closed before: their lines are late.
    """
    if lines.is_empty():
        return []
    octaves = (pl.col("response_time_ms").clip(_SHORTEST_MS) / _SHORTEST_MS).log(2)
    late = pl.col("starts_at") + WINDOW <= closed_until if closed_until else pl.lit(False)
    marked = lines.with_columns(starts_at=pl.col("event_at").dt.truncate("1m")).with_columns(
        is_late=late,
        bin=(octaves * _BINS_PER_OCTAVE).floor().clip(0, RESPONSE_BINS - 1).cast(pl.Int64),
    )
    sums = {
        "lines": pl.len(),
        "errors": pl.col("level").is_in(ERROR_LEVELS).sum(),
        "anomalies": pl.col("is_anomaly").fill_null(False).sum(),
        "responses": pl.col("response_time_ms").count(),
        "response_sum_ms": pl.col("response_time_ms").sum(),
        "bins": pl.col("bin").drop_nulls(),
        "late_lines": pl.col("is_late").sum(),
    }
    by_source = marked.group_by("starts_at", "source").agg(**sums)
    over_all = marked.group_by("starts_at").agg(**sums).with_columns(source=pl.lit(ALL_SOURCES))
    found: list[Window] = []
    for part in (by_source, over_all):
        for row in part.sort("starts_at", "source").iter_rows(named=True):
            bins: tuple[int, ...] = ()
            if row["bins"]:
                bins = tuple(int(n) for n in np.bincount(row.pop("bins"), minlength=RESPONSE_BINS))
            row.pop("bins", None)
            found.append(Window(**row, response_bins=bins))
    return found


@dataclass(frozen=True)
class Watermark:
    """Up to when one tenant's lines are believed complete.

    Each partition has its own newest line: of those that have lines left to read the slowest decides, the
    others hold nobody up.

    Attributes:
        newest: Newest plausible event time by partition.
    """

    newest: tuple[tuple[int, datetime], ...] = ()

    def advanced(self, partition: int, event_at: datetime) -> "Watermark":
        """After a line of a partition."""
        known = dict(self.newest)
        known[partition] = max(known.get(partition, event_at), event_at)
        return Watermark(tuple(sorted(known.items())))

    def at(self, unread: frozenset[int] = frozenset()) -> datetime | None:
        """The watermark: nothing older than it is expected.

        Args:
            unread: Partitions that were not read to their end.

        Returns:
            None before the first line, and while a partition is unread that has given none yet.
        """
        known = dict(self.newest)
        if not known or not unread <= known.keys():
            return None
        at = min(known[partition] for partition in unread) if unread else max(known.values())
        return at - ALLOWED_LATENESS


def window_of(event_at: datetime) -> datetime:
    """First instant of a line's window.

    Example:
        >>> window_of(datetime(2026, 1, 1, 12, 30, 59, tzinfo=UTC)).minute
        30
    """
    return event_at.astimezone(UTC).replace(second=0, microsecond=0)
