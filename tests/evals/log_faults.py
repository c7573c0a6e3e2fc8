"""Faults put into recorded quiet lines of Nezha and HDFS, drawn from a seed: found, named, one incident each.

Add a fault's parameters here. Avoid how a fault changes lines: `orchestration.ingest.logs.injection` does it.
"""

import pickle
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import polars as pl

from orchestration.ingest.incidents.grouping import group
from orchestration.ingest.incidents.topology import Topology
from orchestration.ingest.logs.detector import LogDetector
from orchestration.ingest.logs.evidence import Verdict, WindowLines
from orchestration.ingest.logs.injection import (
    FaultKind,
    inject_cpu_contention,
    inject_error_burst,
    inject_exception,
    inject_network_delay,
    inject_silence,
)
from orchestration.ingest.logs.judging import judge_window
from orchestration.ingest.logs.nezha_evaluation import run_detector, windows_of
from orchestration.ingest.logs.session_evaluation import ALERT_PROBABILITY, Session, train
from orchestration.ingest.logs.templates import TemplateMiner
from orchestration.ingest.replay.nezha_files import InjectedFault, NezhaDay

QUIET_MARGIN = timedelta(seconds=12)
"""Effects of Nezha's faults come a little before their listed instant."""
STRETCH = timedelta(seconds=80)
LEAST_LINES, LEAST_TRACES = 300, 8
SOURCES_PER_STRETCH = 3
SESSIONS = 200


@dataclass
class InjectionResult:
    """What became of the faults that were put in.

    Attributes:
        recall: Share found, by kind.
        named: Share whose source was named first, by kind.
        exactly_one: Share of those found that ended in exactly one incident.
        quiet_alarms: Share of untouched stretches that alert.
    """

    recall: dict[str, float]
    named: dict[str, float]
    exactly_one: float
    quiet_alarms: float


@dataclass
class _Tally:
    tries: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    one: int = 0


def part_of(day: NezhaDay, begin: datetime, end: datetime) -> NezhaDay:
    """What lies in `[begin, end)` of a day."""
    return NezhaDay(
        day.lines.filter((pl.col("event_at") >= begin) & (pl.col("event_at") < end)),
        tuple(point for point in day.metrics if begin <= point.at < end),
        tuple(fault for fault in day.faults if begin <= fault.at < end),
    )


def moved(day: NezhaDay, by: timedelta) -> NezhaDay:
    """The same day at another time."""
    return NezhaDay(
        day.lines.with_columns(pl.col("event_at") + by),
        tuple(replace(point, at=point.at + by) for point in day.metrics),
        tuple(replace(fault, at=fault.at + by) for fault in day.faults),
    )


def inject_into_nezha(day: NezhaDay, rng: random.Random) -> InjectionResult:
    """Faults in the quiet stretches of a day's second half, after its first half."""
    later = day.faults[len(day.faults) // 2 :]
    begin = day.lines["event_at"].min()
    assert isinstance(begin, datetime)
    detector, miner = LogDetector(), TemplateMiner()
    before = part_of(day, begin - timedelta(hours=1), later[0].at - timedelta(minutes=2))
    run_detector(detector, windows_of(before, miner))
    memory = pickle.dumps(detector)
    tally, stretches, alarms = _Tally(), 0, 0
    for fault in later:
        lines = miner.assign(_quiet_lines(day, fault))
        if lines.height < LEAST_LINES:
            continue
        stretches += 1
        if any(verdict.is_alert for verdict in _judge(memory, lines)):
            alarms += 1  # a fault that outlasts its own recording: nothing can be put into it
            continue
        for kind, source, changed in _faulty(lines, rng):
            _count(tally, kind, source, _judge(memory, changed))
    recall = {kind: tally.found[kind] / tries for kind, tries in tally.tries.items()}
    named = {kind: tally.named[kind] / tries for kind, tries in tally.tries.items()}
    one = tally.one / max(tally.found.total(), 1)
    return InjectionResult(recall, named, one, alarms / stretches)


def _quiet_lines(day: NezhaDay, fault: InjectedFault) -> pl.DataFrame:
    last = fault.at - QUIET_MARGIN
    return day.lines.filter((pl.col("event_at") < last) & (pl.col("event_at") > last - STRETCH))


def _faulty(lines: pl.DataFrame, rng: random.Random) -> Iterator[tuple[str, str, pl.DataFrame]]:
    begin = lines["event_at"].min()
    assert isinstance(begin, datetime)
    traces = lines.group_by("source").agg(pl.col("trace_id").n_unique())
    busy = sorted(source for source, n in traces.iter_rows() if n >= LEAST_TRACES)
    for source in rng.sample(busy, min(SOURCES_PER_STRETCH, len(busy))):
        statements = sorted(lines.filter(pl.col("source") == source)["statement"].unique().to_list())
        delay = timedelta(milliseconds=rng.uniform(50, 1000))
        share, phase = rng.uniform(0.2, 1), rng.randrange(1000)
        yield FaultKind.NETWORK_DELAY, source, inject_network_delay(lines, source, begin, delay)
        yield (
            FaultKind.CPU_CONTENTION,
            source,
            inject_cpu_contention(lines, source, begin, rng.uniform(5, 30)),
        )
        yield FaultKind.EXCEPTION, source, inject_exception(lines, source, rng.choice(statements), begin)
        yield FaultKind.ERROR_BURST, source, inject_error_burst(lines, source, begin, share, phase)
        yield FaultKind.SILENCE, source, inject_silence(lines, source, begin)


def _judge(memory: bytes, lines: pl.DataFrame) -> list[Verdict]:
    """Verdicts on lines as one window, by a detector that is thrown away."""
    detector: LogDetector = pickle.loads(memory)
    begin, end = lines["event_at"].min(), lines["event_at"].max()
    assert isinstance(begin, datetime) and isinstance(end, datetime)
    window = WindowLines(begin, end + timedelta(seconds=10), lines)
    return list(judge_window(detector, window))


def _count(tally: _Tally, kind: str, source: str, verdicts: Sequence[Verdict]) -> None:
    tally.tries[kind] += 1
    alerts = [verdict for verdict in verdicts if verdict.is_alert]
    if not alerts:
        return
    tally.found[kind] += 1
    tally.named[kind] += alerts[-1].suspects[0].source == source
    signals = [signal for verdict in alerts for signal in verdict.signals("nezha", verdict.judged_at, {})]
    grouped = group(signals, [], Topology())
    standing = [item for item in grouped.incidents.values() if item.merged_into is None]
    tally.one += len(standing) == 1


def inject_into_sessions(sessions: Sequence[Session], rng: random.Random) -> dict[str, float]:
    """Faults in normal HDFS test sessions: recall by kind."""
    normal = [s for s in sessions if s.split == "train" and not s.is_anomalous]
    model = train(normal)
    events = sorted({event for session in normal for event in session.events})
    test = [list(s.events) for s in sessions if s.split == "test" and not s.is_anomalous]
    found: dict[str, list[bool]] = defaultdict(list)
    for own in rng.sample(test, SESSIONS):
        at = rng.randrange(len(own))
        changed = {
            "lost_event": own[:at] + own[at + 1 :],
            "cut_short": own[: max(at, 1)],
            "repeated_event": own + [own[at]] * rng.randint(2, 5),
            "foreign_event": [*own[:at], rng.choice([e for e in events if e not in own]), *own[at:]],
        }
        for kind, part in changed.items():
            found[kind].append(model.probability(part) <= ALERT_PROBABILITY)
    return {kind: sum(hits) / len(hits) for kind, hits in found.items()}
