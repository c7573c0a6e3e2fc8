"""The columns that detection reads, made from the fields of a log line.

Add here how a field is read out of a line's text. Avoid templates: `templates` mines them for lines that
don't name their statement themselves.
"""

import json
from typing import Any

import polars as pl

from orchestration.ingest.logs.evidence import MetricPoint

CALL_SITE = r"(?:^|\s)([A-Za-z_][\w.$\[\]]*(?:#|\.(?:java|py|go|ts|js|rb|cs):)\d+)(?:\s|$|\])"
"""`logger#line` or `file.py:line`: where a line carries it, it names the statement better than any mining."""


def with_statements(lines: pl.DataFrame) -> pl.DataFrame:
    """Add `statement`: the call site that the line itself names; null where it names none."""
    return lines.with_columns(statement=pl.col("message").str.extract(CALL_SITE))


MOST_METRICS_PER_LINE, MOST_NAME_CHARACTERS = 50, 100
MOST_VALUE = 1e15
"""Readings beyond it, and NaN, are no readings: a petabyte in bytes, and a Python integer of any size."""


def split_metrics(lines: pl.DataFrame) -> tuple[pl.DataFrame, tuple[MetricPoint, ...]]:
    """Take lines that carry values of resources (`{"cpu_millicores": 12}` in `metrics`) out of the others.

    Such a line is a reading, not something that the service had to say: its coming every minute is no
    statement, and its values are judged as levels.

    Args:
        lines: With `source, event_at` and, where any line has them, `metrics`.

    Returns:
        The other lines, and the values by time.
    """
    if "metrics" not in lines.columns or lines["metrics"].null_count() == lines.height:
        return lines.drop("metrics", strict=False), ()
    points: list[MetricPoint] = []
    carrying = lines.filter(pl.col("metrics").is_not_null()).select("source", "event_at", "metrics")
    for source, at, text in carrying.sort("event_at").iter_rows():
        points.extend(MetricPoint(source, name, at, value) for name, value in _values(text))
    return lines.filter(pl.col("metrics").is_null()).drop("metrics"), tuple(points)


def _values(text: str) -> list[tuple[str, float]]:
    try:
        found: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):  # a text that only begins as an object does, or never seems to end
        return []
    return [
        (_storable(name), float(value))
        for name, value in sorted(found.items())[:MOST_METRICS_PER_LINE]
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST_VALUE
    ]


def _storable(name: str) -> str:
    """A name that Postgres takes: JSON escapes can stand for NUL and half a surrogate pair."""
    return name[:MOST_NAME_CHARACTERS].replace("\x00", " ").encode("utf-8", errors="replace").decode()
