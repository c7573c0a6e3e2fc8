"""One fault, one incident, from log lines on: generated faults through templates, detector and grouping.

Fault types, sources and times are drawn from the seed; the labels are read by the judgement alone. Add a
measure in `evaluation`. Avoid tuning here.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import polars as pl

from orchestration.ingest.incidents.grouping import group
from orchestration.ingest.incidents.topology import Topology
from orchestration.ingest.logs.detector import LogDetector
from orchestration.ingest.logs.evidence import WindowLines
from orchestration.ingest.logs.judging import judge_window
from orchestration.ingest.logs.templates import TemplateMiner
from orchestration.ingest.signals import Signal
from orchestration.ingest.simulators.logs.config import AnomalyType, load_config
from orchestration.ingest.simulators.logs.lines import LogGenerator, LogLine

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WARM_UP_MINUTES = 20
LEAST_GAP_MINUTES, MOST_GAP_MINUTES = 3, 15
ENDED_AFTER = timedelta(minutes=2)
"""A finding belongs to a fault whose lines were written in its window or the one before."""


@dataclass(frozen=True)
class InjectedFault:
    """One fault of the generator, as its labels tell it."""

    kind: AnomalyType
    source: str
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True)
class GeneratorQuality:
    """Figures of one drawn run.

    Attributes:
        seed: Draws lines and faults.
        faults: Faults injected.
        detected: Share with at least one finding about their source in their time.
        detected_by_type: The same, by type.
        exactly_one: Share that ended in exactly one incident, undetected ones counted as failures.
        exactly_one_of_detected: The same among detected faults: grouping alone.
        merged_far: Share of incidents that hold faults which began more than ten minutes apart.
        false_incidents_per_hour: Incidents that hold no fault.
        by_type: Share in exactly one incident, by type.
    """

    seed: int
    faults: int
    detected: float
    detected_by_type: dict[str, float]
    exactly_one: float
    exactly_one_of_detected: float
    merged_far: float
    false_incidents_per_hour: float
    by_type: dict[str, float]


def evaluate_generator(
    seed: int,
    minutes: int = 120,
    lines_per_second: float = 100.0,
    most_gap_minutes: int = MOST_GAP_MINUTES,
) -> GeneratorQuality:
    """Generate, detect, group, and compare with the labels.

    Args:
        seed: Draws everything.
        minutes: Length; the first twenty minutes are quiet.
        lines_per_second: Of all sources together.
        most_gap_minutes: Longest time between the begins of two faults.
    """
    rng = random.Random(seed)  # noqa: S311
    generator = LogGenerator(
        replace(load_config(), anomaly_probability=0.0), rng.randrange(2**31), START, lines_per_second
    )
    detector, miner = LogDetector(), TemplateMiner()
    faults: list[InjectedFault] = []
    signals: list[Signal] = []
    due = list(_draw_minutes(rng, minutes, most_gap_minutes))
    kinds = _draw_kinds(rng)
    for minute in range(minutes):
        kind = next(kinds) if minute in due else None
        lines = _minute(generator, rng, kind, int(lines_per_second * 60))
        faults += _labelled(lines, faults)
        begin = START + minute * MINUTE
        window = WindowLines(begin, begin + MINUTE, miner.assign(_frame(lines)))
        for verdict in judge_window(detector, window):
            if verdict.is_alert:
                signals += verdict.signals("demo-plant", verdict.judged_at, {})
    return _judge(seed, faults, signals, (minutes - WARM_UP_MINUTES) / 60)


def _draw_kinds(rng: random.Random) -> Iterator[AnomalyType]:
    """Types in rounds of all six, so that the rare ones are tried as often as the others."""
    while True:
        yield from rng.sample(list(AnomalyType), len(AnomalyType))


def _draw_minutes(rng: random.Random, minutes: int, most_gap: int) -> Iterator[int]:
    at = WARM_UP_MINUTES + rng.randrange(LEAST_GAP_MINUTES)
    while at < minutes - 2:
        yield at
        at += rng.randint(LEAST_GAP_MINUTES, most_gap)


def _minute(
    generator: LogGenerator, rng: random.Random, kind: AnomalyType | None, count: int
) -> list[LogLine]:
    if kind is None:
        return list(generator.lines(count))
    before = rng.randrange(count)
    lines = list(generator.lines(before))
    generator.inject(kind)
    return [*lines, *generator.lines(count - before)]


def _labelled(lines: list[LogLine], known: list[InjectedFault]) -> list[InjectedFault]:
    """New faults of a minute by their labels; one that goes on from the minute before is the same."""
    found: defaultdict[tuple[AnomalyType, str], list[datetime]] = defaultdict(list)
    for line in lines:
        if line.anomaly_type is not None:
            found[line.anomaly_type, line.source].append(line.event_at)
    return [
        InjectedFault(kind, source, min(times), max(times))
        for (kind, source), times in found.items()
        if not any(
            one.kind is kind and one.source == source and min(times) - one.last_at < 2 * MINUTE
            for one in known
        )
    ]


def _frame(lines: list[LogLine]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "event_at": [line.event_at for line in lines],
            "source": [line.source for line in lines],
            "level": [line.level for line in lines],
            "message": [line.message for line in lines],
            "response_time_ms": [line.response_time_ms for line in lines],
            "statement": [None] * len(lines),
            "trace_id": [None] * len(lines),
            "span_id": [None] * len(lines),
        },
        schema_overrides={
            "event_at": pl.Datetime("us", "UTC"),
            "response_time_ms": pl.Float64,
            "statement": pl.String,
            "trace_id": pl.String,
            "span_id": pl.String,
        },
    )


def _judge(seed: int, faults: list[InjectedFault], signals: list[Signal], hours: float) -> GeneratorQuality:
    grouped = group(signals, [], Topology())
    homes: defaultdict[int, set[str]] = defaultdict(set)
    held: defaultdict[str, set[int]] = defaultdict(set)
    for place, signal in enumerate(signals):
        for number, fault in enumerate(faults):
            in_time = fault.first_at <= signal.observed_at <= fault.last_at + ENDED_AFTER
            if signal.subject == fault.source and in_time:
                homes[number].add(grouped.members[place])
                held[grouped.members[place]].add(number)
    one = [len(homes[number]) == 1 for number in range(len(faults))]
    seen = [bool(homes[number]) for number in range(len(faults))]
    far = [
        max(faults[n].first_at for n in numbers) - min(faults[n].first_at for n in numbers) > 10 * MINUTE
        for numbers in held.values()
    ]
    standing = [name for name, item in grouped.incidents.items() if item.merged_into is None]
    by_type: defaultdict[str, list[bool]] = defaultdict(list)
    seen_by_type: defaultdict[str, list[bool]] = defaultdict(list)
    for fault, is_one, is_seen in zip(faults, one, seen, strict=True):
        by_type[fault.kind.value].append(is_one)
        seen_by_type[fault.kind.value].append(is_seen)
    return GeneratorQuality(
        seed=seed,
        faults=len(faults),
        detected=_share(seen),
        detected_by_type={kind: _share(values) for kind, values in seen_by_type.items()},
        exactly_one=_share(one),
        exactly_one_of_detected=_share([o for o, s in zip(one, seen, strict=True) if s]),
        merged_far=_share(far),
        false_incidents_per_hour=sum(name not in held for name in standing) / hours,
        by_type={kind: _share(values) for kind, values in by_type.items()},
    )


def _share(values: list[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
