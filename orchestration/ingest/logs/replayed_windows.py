"""Cuts recorded lines and metrics into windows, as the service would see them.

Avoid judging and truth here.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import polars as pl

from orchestration.ingest.logs.evidence import MetricPoint, WindowLines

WINDOW = timedelta(minutes=1)


def cut_windows(lines: pl.DataFrame, metrics: Sequence[MetricPoint] = ()) -> Iterator[WindowLines]:
    """One-minute windows by event time, in order; a window has no lines where only metrics came.

    Args:
        lines: With `event_at` (UTC).
        metrics: By time.
    """
    by_start: dict[datetime, pl.DataFrame] = {}
    for (start,), part in lines.with_columns(_window=pl.col("event_at").dt.truncate("1m")).group_by(
        "_window"
    ):
        by_start[start] = part.drop("_window")  # pyright: ignore[reportArgumentType]
    points: dict[datetime, list[MetricPoint]] = {}
    for point in metrics:
        points.setdefault(point.at.replace(second=0, microsecond=0), []).append(point)
    for start in sorted({*by_start, *points}):
        yield WindowLines(
            start, start + WINDOW, by_start.get(start, lines.clear()), tuple(points.get(start, ()))
        )
