"""Judges the traces of a window: where they parted from their usual way, and what became slow.

Failures that the whole system always has (an error statement that several sources write in quiet windows,
such as a stale service registry) cut a trace: what they prevent is no news. Add here what concerns traces
as a whole. Avoid counts of untraced lines: `statements` judges those.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from orchestration.ingest.logs.evidence import Evidence, WindowLines
from orchestration.ingest.logs.flow import END, KEY, LEAVE, read_steps
from orchestration.ingest.logs.flow_history import (
    Divergence,
    FlowHistory,
    Slowness,
    StepCounts,
    source_of,
    statement_of,
)
from orchestration.ingest.signals import SignalKind

WARM_UP_TRACES = 20
"""Traces that the history must hold before it is believed."""
LEARNING_LAG = 2
"""Windows that must pass without suspicion before one is learned: a fault is often seen a window late."""
HOT_SCORE = 2.5
"""Places and sources above it are not learned, alert or not."""
WITHHELD_WINDOWS, WITHHELD_FOR, FORGET_AFTER = 3, timedelta(minutes=30), timedelta(hours=2)
"""A place that looked wrong in 3 quiet windows or more, over half an hour, is learned all the same: then its
history is wrong, of a fault at the start or of a release that is gone, and would blame for ever."""
KNOWN_WINDOWS, KNOWN_SOURCES = 3, 2
"""An error statement is an everyday one after 3 quiet windows and 2 sources."""
SLOW_WEIGHT = 0.5
"""Steps of one trace are slow together: their scores are not independent, so half of the sum counts."""
ERROR_LEVELS = ("ERROR", "CRITICAL")


@dataclass
class _Pending:
    starts_at: datetime
    counts: StepCounts
    hot: frozenset[str]
    errors: frozenset[tuple[str, str]]
    is_alert: bool


@dataclass(frozen=True)
class TraceFindings:
    """What the traces of a window show.

    Attributes:
        evidence: Reasons, in no order.
        counts: Steps of the window.
        hot: Places and sources that are not to be learned.
        open_lines: Last lines of traces that go on.
        errors: (statement, source) of error lines.
    """

    evidence: tuple[Evidence, ...]
    counts: StepCounts
    hot: frozenset[str]
    open_lines: pl.DataFrame | None
    errors: frozenset[tuple[str, str]]


@dataclass
class TraceJudge:
    """Memory of traces. `judge` changes nothing; `close` takes what was judged into the memory."""

    history: FlowHistory = field(default_factory=FlowHistory)
    pending: deque[_Pending] = field(default_factory=deque["_Pending"])
    open_lines: pl.DataFrame | None = None
    error_windows: dict[str, set[datetime]] = field(default_factory=dict[str, "set[datetime]"])
    error_sources: dict[str, set[str]] = field(default_factory=dict[str, "set[str]"])
    withheld: dict[str, tuple[datetime, ...]] = field(default_factory=dict[str, tuple[datetime, ...]])

    @property
    def is_warm(self) -> bool:
        """Whether enough traces are known."""
        return sum(self.history.trials.values()) >= WARM_UP_TRACES

    def judge(self, window: WindowLines, judged_at: datetime) -> TraceFindings:
        """Judge the traces of a window up to an instant.

        Args:
            window: Its lines; those without trace are left out.
            judged_at: Up to when lines were seen: traces at rest by then are over.
        """
        traced = window.lines.filter(pl.col("trace_id").is_not_null())
        if traced.is_empty():
            return TraceFindings((), StepCounts(), frozenset(), self.open_lines, frozenset())
        traced = traced.unique(["trace_id", "span_id", "source", "message", "event_at"], keep="first")
        errors = traced.filter(pl.col("level").is_in(ERROR_LEVELS))
        usual, cut_traces = self._without_everyday_failures(traced)
        read = read_steps(usual, self.open_lines, pl.lit(judged_at))
        ended_by_cut = (pl.col("next_place") == END) & pl.col("trace_id").is_in(cut_traces)
        counts = StepCounts.of(read.steps.filter(~ended_by_cut))
        together = counts
        for item in list(self.pending)[-LEARNING_LAG:]:
            if not item.is_alert:
                together = together.plus(item.counts)
        divergences = self.history.divergences(counts) + self.history.divergences(together)
        slow = self.history.slowness(counts, judged_at)
        hot = {item.place for item in divergences if item.score >= HOT_SCORE}
        hot |= {item.source for item in slow if item.best >= HOT_SCORE}
        evidence = [_of_divergence(item, traced) for item in divergences]
        evidence += [_of_slowness(item) for item in slow]
        written = frozenset(errors.select("statement", "source").unique().iter_rows())
        return TraceFindings(tuple(evidence), counts, frozenset(hot), read.open_lines, written)

    def close(self, window: WindowLines, findings: TraceFindings, is_alert: bool) -> None:
        """Take a judged window into the memory: after two more windows, and not during an alert."""
        self.open_lines = findings.open_lines
        self.pending.append(
            _Pending(window.starts_at, findings.counts, findings.hot, findings.errors, is_alert)
        )
        if not self.is_warm and not is_alert:
            self.history.learn(findings.counts, window.ends_at, findings.hot)
            self.pending.clear()
        while len(self.pending) > LEARNING_LAG:
            oldest = self.pending.popleft()
            hot = oldest.hot.union(*(item.hot for item in self.pending))
            if not oldest.is_alert:
                lasting = self._lasting(oldest.hot, window.ends_at)
                self.history.learn(oldest.counts, window.ends_at, hot - lasting)
            # A fault's errors often come a window before its alert: they are nothing everyday.
            if not any(item.is_alert for item in (oldest, *list(self.pending)[:1])):
                self._note_errors(oldest)

    def _note_errors(self, item: _Pending) -> None:
        for statement, source in item.errors:
            self.error_windows.setdefault(statement, set()).add(item.starts_at)
            self.error_sources.setdefault(statement, set()).add(source)

    def _lasting(self, hot: frozenset[str], at: datetime) -> frozenset[str]:
        """Of what looked wrong in a quiet window, what did so again and again."""
        lasting: set[str] = set()
        for name in (name for name in hot if KEY in name):  # latencies of a source age by themselves
            seen = [past for past in self.withheld.get(name, ()) if past > at - FORGET_AFTER]
            self.withheld[name] = (*seen, at)
            if len(seen) + 1 >= WITHHELD_WINDOWS and seen[0] <= at - WITHHELD_FOR:
                lasting.add(name)
        return frozenset(lasting)

    def _without_everyday_failures(self, traced: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        known = [
            statement
            for statement, windows in self.error_windows.items()
            if len(windows) >= KNOWN_WINDOWS and len(self.error_sources[statement]) >= KNOWN_SOURCES
        ]
        if not known:
            return traced, []
        cuts = (
            traced.filter(pl.col("statement").is_in(known) & pl.col("level").is_in(ERROR_LEVELS))
            .group_by("trace_id")
            .agg(cut_at=pl.col("event_at").min())
        )
        kept = traced.join(cuts, on="trace_id", how="left").filter(
            pl.col("cut_at").is_null() | (pl.col("event_at") < pl.col("cut_at"))
        )
        return kept.drop("cut_at"), cuts["trace_id"].to_list()


def _name(place: str) -> str:
    if place in (END, LEAVE):
        return "the end of the trace" if place == END else "the answer to the caller"
    return f"{source_of(place)}: {statement_of(place)}"


def _of_divergence(item: Divergence, lines: pl.DataFrame) -> Evidence:
    went, passed, went_before, passed_before = item.missing_counts
    place = (pl.col("source") == source_of(item.appeared)) & (
        pl.col("statement") == statement_of(item.appeared)
    )
    samples: list[str] = (
        lines.filter(place)["message"].head(2).to_list()
        if item.appeared not in (END, LEAVE) and item.score > 3
        else []
    )
    numbers: dict[str, Any] = {
        "traces_now": [went, passed],
        "traces_before": [round(went_before, 1), round(passed_before, 1)],
    }
    return Evidence(
        SignalKind.LOG_STATEMENTS,
        item.blamed,
        item.score,
        f"{item.blamed}: after {_name(item.place)}, {went:.0f} of {passed:.0f} traces went on to "
        f"{_name(item.missing)}, before {went_before:.0f} of {passed_before:.0f}; "
        f"now {_name(item.appeared)} follows",
        (_name(item.place), _name(item.missing), _name(item.appeared)),
        tuple(sorted({source_of(item.place), item.blamed})),
        numbers,
        tuple(text[:500] for text in samples),
    )


def _of_slowness(item: Slowness) -> Evidence:
    place, next_place, slow, gaps, threshold = item.steps[0]
    return Evidence(
        SignalKind.LOG_LATENCY,
        item.source,
        item.score * SLOW_WEIGHT,
        f"{item.source}: {slow} of {gaps} times {_name(next_place)} came later than {threshold:.3f} s after "
        f"{_name(place)}",
        tuple(f"{_name(a)} -> {_name(b)}" for a, b, *_ in item.steps),
        tuple(sorted({source_of(name) for a, b, *_ in item.steps for name in (a, b)})),
        {
            "steps": [
                {"from": _name(a), "to": _name(b), "slow": k, "steps": n, "slow_above_s": round(limit, 4)}
                for a, b, k, n, limit in item.steps
            ]
        },
    )
