"""Traces: the first step that went another way is found and the right source is blamed."""

import copy
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from orchestration.ingest.logs.detector import LogDetector
from orchestration.ingest.logs.evidence import Verdict, WindowLines
from orchestration.ingest.logs.injection import (
    inject_cpu_contention,
    inject_exception,
    inject_network_delay,
    inject_silence,
)

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
# One request: shop asks stock, stock asks its database (a gap without lines), shop then asks pay.
STEPS = (
    ("shop", "Shop#1", "a", 0.0), ("shop", "Shop#2", "a", 0.0003), ("stock", "Stock#1", "b", 0.004),
    ("stock", "Stock#2", "b", 0.009), ("shop", "Shop#3", "a", 0.012), ("pay", "Pay#1", "c", 0.015),
    ("pay", "Pay#2", "c", 0.0155), ("shop", "Shop#4", "a", 0.018),
)  # fmt: skip


def minute(number: int, traces: int = 30) -> pl.DataFrame:
    """A minute of equal requests, two seconds apart; gaps vary by a fifth from trace to trace."""
    start = BEGIN + number * MINUTE
    rows = [
        {
            "source": source, "statement": statement, "level": "INFO", "message": f"{statement} {number} {t}",
            "event_at": start + timedelta(seconds=1.5 * t + at * (0.8 + 0.4 * ((t * 7 + number) % 10) / 10)),
            "trace_id": f"{number}-{t}", "span_id": f"{number}-{t}-{span}", "response_time_ms": None,
        }
        for t in range(traces)
        for source, statement, span, at in STEPS
    ]  # fmt: skip
    return pl.DataFrame(
        rows, schema_overrides={"response_time_ms": pl.Float64, "event_at": pl.Datetime("us", "UTC")}
    )


def window(number: int, lines: pl.DataFrame) -> WindowLines:
    """Lines as the window of a minute."""
    return WindowLines(BEGIN + number * MINUTE, BEGIN + (number + 1) * MINUTE, lines)


@pytest.fixture(scope="module")
def warmed() -> LogDetector:
    """A detector after six quiet minutes; tests take a copy."""
    detector = LogDetector()
    for number in range(6):
        assert not detector.close(window(number, minute(number))).is_alert
    return detector


@pytest.fixture
def warm(warmed: LogDetector) -> LogDetector:
    """A warm detector of the test's own."""
    return copy.deepcopy(warmed)


def first(verdict: Verdict) -> str | None:
    """First suspect of an alert."""
    return verdict.suspects[0].source if verdict.is_alert else None


def test_a_quiet_minute_stays_quiet(warm: LogDetector) -> None:
    """Forbids false alarms on traffic like before, more or less of it."""
    assert first(warm.close(window(6, minute(6, traces=12)))) is None
    assert first(warm.close(window(7, minute(7, traces=38)))) is None


@pytest.mark.parametrize("source", ["shop", "stock", "pay"])
def test_a_network_delay_is_blamed_on_its_sender(warm: LogDetector, source: str) -> None:
    """Forbids blaming the caller that waits: its waiting is not its own time."""
    lines = inject_network_delay(minute(6), source, BEGIN, timedelta(milliseconds=200))

    assert first(warm.close(window(6, lines))) == source


def test_slow_computing_is_blamed_on_who_computes(warm: LogDetector) -> None:
    """Forbids a latency statistic that only sees the whole request."""
    assert first(warm.close(window(6, inject_cpu_contention(minute(6), "stock", BEGIN, 30.0)))) == "stock"


def test_an_exception_is_blamed_on_the_source_whose_line_is_missing(warm: LogDetector) -> None:
    """Forbids blaming the caller whose later lines are missing too."""
    lines = inject_exception(minute(6), "stock", "Stock#2", BEGIN)

    assert first(warm.close(window(6, lines))) == "stock"


def test_a_dead_service_is_blamed_though_it_writes_nothing(warm: LogDetector) -> None:
    """Forbids a detector that needs a line of the faulty service."""
    assert first(warm.close(window(6, inject_silence(minute(6), "pay", BEGIN)))) == "pay"


def test_nothing_is_learned_while_an_alert_is_open(warm: LogDetector) -> None:
    """Forbids an outage that becomes usual because it lasts: ten minutes of it, then still an alert."""
    for number in range(6, 16):
        verdict = warm.close(window(number, inject_silence(minute(number), "pay", BEGIN)))
        assert first(verdict) == "pay", number
    assert first(warm.close(window(16, minute(16)))) is None


def test_a_look_learns_nothing_and_does_not_double_a_window(warm: LogDetector) -> None:
    """Forbids looks that change what the window's close says."""
    half = minute(6).filter(pl.col("event_at") < BEGIN + 6.5 * MINUTE)
    for _ in range(5):
        warm.look(window(6, half), BEGIN + 6.5 * MINUTE)

    assert first(warm.close(window(6, minute(6)))) is None


def test_order_of_arrival_does_not_matter(warm: LogDetector) -> None:
    """Forbids statistics that read the order of collection as the order of events."""
    shuffled = minute(6).sample(fraction=1.0, shuffle=True, seed=3)

    assert first(warm.close(window(6, shuffled))) is None


def test_a_trace_across_two_windows_is_one_trace(warm: LogDetector) -> None:
    """Forbids counting a request that a window's end cuts as one that broke off."""
    late = minute(6).with_columns(event_at=pl.col("event_at") + pl.duration(milliseconds=59_990))
    spread = late.filter(pl.col("trace_id") == "6-0")
    end = BEGIN + 7 * MINUTE
    one, two = spread.filter(pl.col("event_at") < end), spread.filter(pl.col("event_at") >= end)
    assert one.height and two.height

    warm.close(window(6, one))
    verdict = warm.close(window(7, two))

    assert not verdict.suspects


def changed(number: int) -> pl.DataFrame:
    """A minute of one request, in which the stock service goes another way than it used to."""
    lines = minute(number, traces=1)
    other = pl.col("statement").replace({"Stock#2": "Stock#9"})
    return lines.with_columns(statement=other)


def test_a_way_that_lasts_is_learned_though_it_looked_wrong(warm: LogDetector) -> None:
    """Forbids blaming a service for ever because a fault at the start, or an old release, was learned."""
    scores: dict[int, float] = {}
    for number in range(6, 60):
        verdict = warm.close(window(number, changed(number) if number % 3 == 0 else minute(number)))
        assert not verdict.is_alert
        if number % 3 == 0:
            scores[number] = max((s.score for s in verdict.suspects if s.source == "stock"), default=0.0)

    # One trace against 180 that all went the usual way scores 3.3; half an hour is 10 such minutes.
    assert min(score for number, score in scores.items() if number <= 36) > 2.5
    assert scores[57] < 2.5


def test_errors_of_a_fault_are_nothing_everyday(warm: LogDetector) -> None:
    """Forbids errors that come a minute before their alert and are then taken for the usual."""
    failing = pl.when(pl.col("source").is_in(["stock", "pay"])).then(pl.lit("ERROR")).otherwise("level")
    for number in range(6, 30):
        lines = minute(number)
        if number % 4 == 0:  # errors first, and in the next minute the calls are gone
            lines = lines.with_columns(level=failing)
        if number % 4 == 1:
            lines = inject_exception(lines, "stock", "Stock#2", BEGIN)
        assert warm.close(window(number, lines)).is_alert == (number % 4 == 1)

    assert not warm.traces.error_windows
