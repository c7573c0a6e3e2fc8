"""When windows are judged, and what of a line's metadata is judged as a level."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from orchestration.ingest.logs.detector import LogDetector
from orchestration.ingest.logs.evidence import WindowLines
from orchestration.ingest.logs.judging import judge_window, looks_due
from orchestration.ingest.logs.lines import split_metrics
from orchestration.ingest.logs.messages import read_messages
from orchestration.ingest.logs.tenant_windows import stages_of

BEGIN = datetime(2026, 1, 1, 8, tzinfo=UTC)


def message(second: float, text: str, **metadata: object) -> bytes:
    """A message of the topic, so many seconds after the begin."""
    at = BEGIN + timedelta(seconds=second)
    record = {"tenant_id": "t", "event_at": at.isoformat(), "level": "INFO", "source": "a", "message": text}
    return json.dumps({**record, "metadata": json.dumps(metadata)}).encode()


def read(*payloads: bytes) -> pl.DataFrame:
    return read_messages(payloads, BEGIN + timedelta(minutes=9)).lines


def seconds(instants: list[datetime]) -> list[float]:
    return [(at - BEGIN).total_seconds() for at in instants]


def test_a_look_is_made_once_its_lines_are_complete() -> None:
    """Forbids looking at lines that are still to come, and twice at the same."""
    assert seconds(looks_due(BEGIN, BEGIN + timedelta(seconds=19), None)) == []
    assert seconds(looks_due(BEGIN, BEGIN + timedelta(seconds=41), None)) == [20, 40]
    assert seconds(looks_due(BEGIN, BEGIN + timedelta(seconds=41), BEGIN + timedelta(seconds=20))) == [40]


def test_a_late_service_makes_the_looks_that_it_owes() -> None:
    """Forbids a service that, catching up, judges otherwise than one that kept up."""
    window = WindowLines(BEGIN, BEGIN + timedelta(minutes=1), read(message(1, "x"), message(30, "x")))
    whole = [verdict.judged_at for verdict in judge_window(LogDetector(), window)]
    rest = [
        verdict.judged_at
        for verdict in judge_window(LogDetector(), window, looked_until=BEGIN + timedelta(seconds=20))
    ]
    assert (seconds(whole), seconds(rest)) == ([20, 40, 60], [40, 60])


def test_a_look_asks_for_more_than_a_close() -> None:
    """Forbids three chances a minute at the price of one."""
    window = WindowLines(BEGIN, BEGIN + timedelta(minutes=1), read(message(1, "x")))
    thresholds = [verdict.threshold for verdict in judge_window(LogDetector(), window)]
    assert thresholds[0] == thresholds[1] > thresholds[2]


def test_readings_are_levels_and_no_statements() -> None:
    """Forbids metrics that are lost, taken for lines, or believed where they are no numbers."""
    lines = read(
        message(1, "served"),
        message(2, "usage", metrics={"cpu_millicores": 12, "is_hot": True, "note": "x", "memory_mib": 3.5}),
        message(3, "odd", metrics="none"),
        message(4, "worse", metrics="{"),
        message(5, "absurd", metrics={"cpu_millicores": 1e300, "memory_mib": -1e16}),
        message(6, "no JSON", metrics={"cpu_millicores": float("nan")}),
    )

    kept, points = split_metrics(lines)

    assert kept["message"].to_list() == ["served", "odd", "no JSON"]
    assert [(p.source, p.metric, p.value) for p in points] == [
        ("a", "cpu_millicores", 12.0),
        ("a", "memory_mib", 3.5),
    ]
    assert seconds([point.at for point in points]) == [2, 2]


def test_lines_without_readings_pass_as_they_are() -> None:
    """Forbids losing lines whose metadata is of another kind, or of a chunk of an older release."""
    lines = read(message(1, "a", span_id="s"), message(2, 'the word "metrics" in a text'))
    assert split_metrics(lines)[0].height == split_metrics(lines.drop("metrics"))[0].height == 2


def test_stages_are_of_live_lines_only() -> None:
    """Forbids a replay of last year that shows as a year of latency."""
    lines = read(message(1, "x"))
    sent, now = BEGIN + timedelta(seconds=1.2), BEGIN + timedelta(seconds=1.5)
    found = stages_of(lines, sent, now)
    # 1.2 s - 1 s to the broker, 1.5 s - 1.2 s from there.
    assert found == {
        "generation_to_kafka_ms": pytest.approx(200), "kafka_to_consumer_ms": pytest.approx(300),
    }  # fmt: skip
    assert stages_of(lines, sent, now + timedelta(days=1)) == {}
