"""Windows: event time, additivity, lateness and a watermark that one bad clock or partition can't move."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from orchestration.ingest.windows import ALL_SOURCES, Watermark, Window, aggregate

BEGIN = datetime(2026, 1, 1, 8, tzinfo=UTC)


def lines(*rows: tuple[float, str, str, float | None]) -> pl.DataFrame:
    """Lines from (seconds after the begin, source, level, response time)."""
    return pl.DataFrame(
        [
            {"event_at": BEGIN + timedelta(seconds=at), "source": source, "level": level,
             "response_time_ms": took, "is_anomaly": False}
            for at, source, level, took in rows
        ],
        schema={"event_at": pl.Datetime("us", "UTC"), "source": pl.String, "level": pl.String,
                "response_time_ms": pl.Float64, "is_anomaly": pl.Boolean},
    )  # fmt: skip


def by_key(windows: list[Window]) -> dict[tuple[str, datetime], Window]:
    """Windows by source and begin."""
    return {(item.source, item.starts_at): item for item in windows}


def test_a_line_belongs_to_the_minute_it_was_written_in() -> None:
    """Forbids windows by arrival, and a line on the border counted in both."""
    found = by_key(aggregate(lines((60.0, "a", "INFO", None), (59.999, "a", "ERROR", 10.0)), None))

    first, second = found["a", BEGIN], found["a", BEGIN + timedelta(minutes=1)]
    assert (first.lines, first.errors, first.responses, first.mean_response_ms) == (1, 1, 1, 10.0)
    assert (second.lines, second.errors, second.mean_response_ms) == (1, 0, None)


def test_all_sources_together_are_the_sum_of_each() -> None:
    """Forbids an overall window that counts otherwise than its parts."""
    found = by_key(
        aggregate(lines((1, "a", "ERROR", 1.0), (2, "b", "CRITICAL", 3.0), (3, "b", "INFO", None)), None)
    )

    whole = found[ALL_SOURCES, BEGIN]
    assert (whole.lines, whole.errors, whole.responses, whole.response_sum_ms) == (3, 2, 2, 4.0)


def test_p95_is_right_to_a_bin() -> None:
    """Forbids an estimate off by more than its bin (19 %): of 1..100 ms the p95 is 95 ms."""
    rows = [(1.0, "a", "INFO", float(ms)) for ms in range(1, 101)]

    p95 = by_key(aggregate(lines(*rows), None))["a", BEGIN].p95_response_ms

    assert p95 == pytest.approx(95.0, rel=0.19)


def test_a_line_of_a_closed_window_is_late() -> None:
    """Forbids losing the count of late lines, on which the allowed lateness is set."""
    found = by_key(
        aggregate(lines((5, "a", "INFO", None), (65, "a", "INFO", None)), BEGIN + timedelta(minutes=1))
    )

    assert found["a", BEGIN].late_lines == 1
    assert found["a", BEGIN + timedelta(minutes=1)].late_lines == 0


def test_the_slowest_partition_holds_the_watermark_until_it_is_read_up() -> None:
    """Forbids closing windows whose lines wait in another partition, and waiting for an empty one."""
    mark = Watermark().advanced(0, BEGIN + timedelta(minutes=9)).advanced(1, BEGIN + timedelta(minutes=1))

    assert mark.at(frozenset({0, 1})) == BEGIN + timedelta(seconds=55)
    assert mark.at(frozenset({0})) == BEGIN + timedelta(minutes=9, seconds=-5)
    assert mark.at() == BEGIN + timedelta(minutes=9, seconds=-5)
    assert Watermark().at() is None


def test_a_partition_that_was_not_read_yet_holds_the_watermark() -> None:
    """Forbids a start that judges by the first partition alone: the second's lines would all be late."""
    mark = Watermark().advanced(0, BEGIN + timedelta(minutes=9))

    assert mark.at(frozenset({0, 1})) is None
    assert mark.at(frozenset({0})) == BEGIN + timedelta(minutes=9, seconds=-5)


def test_a_watermark_does_not_go_back() -> None:
    """Forbids an old line that reopens closed windows."""
    mark = Watermark().advanced(0, BEGIN + timedelta(minutes=9)).advanced(0, BEGIN)

    assert mark.newest == ((0, BEGIN + timedelta(minutes=9)),)
