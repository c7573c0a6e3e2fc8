"""Judges the detector on a day of injected faults: found, named, how soon, and how much noise beside.

Alerts are windows, as an operator would be told; truth is read after detection only. Add a measure here.
Avoid thresholds: they are the detector's.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestration.ingest.logs.detector import ALERT_SCORE, LogDetector
from orchestration.ingest.logs.evidence import Verdict, WindowLines
from orchestration.ingest.logs.judging import judge_window
from orchestration.ingest.logs.replayed_windows import WINDOW, cut_windows
from orchestration.ingest.logs.spike_rule import mission_rule
from orchestration.ingest.logs.templates import TemplateMiner
from orchestration.ingest.replay.nezha_files import InjectedFault, NezhaDay
from orchestration.ingest.windows import ALLOWED_LATENESS

FAULT_LENGTH = timedelta(minutes=3)
"""From the injection on: the recordings end two minutes after it, a window later at the most."""


@dataclass(frozen=True)
class Alert:
    """One alerting window.

    Attributes:
        at: When it was raised, by the data's clock: once lines up to there were believed complete.
        starts_at: First instant of its window.
        suspects: Sources with their scores.
    """

    at: datetime
    starts_at: datetime
    suspects: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class FaultResult:
    """What became of one fault.

    Attributes:
        fault: The fault.
        delay_s: Seconds from injection to the first alert; None if there was none.
        suspects: Sources by their summed scores over the fault's alerts.
    """

    fault: InjectedFault
    delay_s: float | None
    suspects: tuple[str, ...]

    @property
    def rank(self) -> int | None:
        """Place of the faulty source among the suspects, from 1; None when it is not among them."""
        return self.suspects.index(self.fault.source) + 1 if self.fault.source in self.suspects else None


@dataclass(frozen=True)
class NezhaResult:
    """Figures of one detector on one day.

    Attributes:
        recall: Share of faults with an alert.
        precision: Share of alerting windows that overlap a fault.
        localisation_top1: Share of all faults whose source is named first.
        localisation_top3: The same among the first three.
        median_delay_s: Of the faults found.
        f1: Of recall and precision.
        faults: Each fault.
        false_alerts: Alerts outside of faults.
    """

    recall: float
    precision: float
    localisation_top1: float
    localisation_top3: float
    median_delay_s: float
    f1: float
    faults: tuple[FaultResult, ...] = field(repr=False)
    false_alerts: tuple[Alert, ...] = field(repr=False)


def run_detector(detector: LogDetector, windows: Iterable[WindowLines]) -> list[Alert]:
    """Run a detector over windows in order, as the service would.

    Windows in which only metrics were recorded are learned from; their alerts have no truth to be judged by.
    """
    return [
        _alert(verdict)
        for window in windows
        for verdict in judge_window(detector, window)
        if verdict.is_alert and window.lines.height
    ]


def _alert(verdict: Verdict) -> Alert:
    suspects = tuple((suspect.source, suspect.score) for suspect in verdict.suspects)
    return Alert(verdict.judged_at + ALLOWED_LATENESS, verdict.starts_at, suspects)


def evaluate_nezha(
    day: NezhaDay, warm: NezhaDay | None = None, alert_score: float = ALERT_SCORE
) -> NezhaResult:
    """Run the detector over a day, after another day if one is given, and judge its alerts.

    Args:
        day: Judged day.
        warm: Day that the detector sees before (its labels are not used); None starts it from nothing.
        alert_score: Threshold of an alert.
    """
    detector, miner = LogDetector(alert_score), TemplateMiner()
    if warm is not None:
        run_detector(detector, windows_of(warm, miner))
    return judge(run_detector(detector, windows_of(day, miner)), day.faults)


def evaluate_rule(day: NezhaDay) -> NezhaResult:
    """The mission's spike rule on the same day, sources by their errors."""
    alerts: list[Alert] = []
    for window in cut_windows(day.lines):
        spikes = mission_rule(window.lines)
        if spikes:
            alerts.append(Alert(window.ends_at, window.starts_at, spikes))
    return judge(alerts, day.faults)


def windows_of(day: NezhaDay, miner: TemplateMiner) -> Iterable[WindowLines]:
    """The windows of a day; those without lines hold metrics between the recordings."""
    return cut_windows(miner.assign(day.lines), day.metrics)


def judge(alerts: Sequence[Alert], faults: Sequence[InjectedFault]) -> NezhaResult:
    """Match alerts with faults and count."""
    by_fault: dict[int, list[Alert]] = defaultdict(list)
    false_alerts: list[Alert] = []
    for alert in alerts:
        matched = [
            i for i, fault in enumerate(faults)
            if fault.at < alert.starts_at + WINDOW and alert.starts_at < fault.at + FAULT_LENGTH
        ]  # fmt: skip
        if matched:
            by_fault[matched[-1]].append(alert)
        else:
            false_alerts.append(alert)
    results = tuple(_result(fault, by_fault.get(i, [])) for i, fault in enumerate(faults))
    found = [item.delay_s for item in results if item.delay_s is not None]
    recall = len(found) / len(faults)
    windows = {alert.starts_at for alert in alerts}
    false_windows = {alert.starts_at for alert in false_alerts}
    precision = 1 - len(false_windows) / len(windows) if windows else 0.0
    return NezhaResult(
        recall,
        precision,
        sum(item.rank == 1 for item in results) / len(faults),
        sum(item.rank is not None and item.rank <= 3 for item in results) / len(faults),
        statistics.median(found) if found else float("nan"),
        2 * recall * precision / (recall + precision) if recall + precision else 0.0,
        results,
        tuple(false_alerts),
    )


def _result(fault: InjectedFault, alerts: list[Alert]) -> FaultResult:
    totals: dict[str, float] = defaultdict(float)
    for alert in alerts:
        for source, score in alert.suspects:
            totals[source] += score
    suspects = tuple(sorted(totals, key=lambda source: (-totals[source], source)))
    # Effects come up to half a minute before the listed instant: such an alert is the fault's, with delay 0.
    delay = min((max((alert.at - fault.at).total_seconds(), 0.0) for alert in alerts), default=None)
    return FaultResult(fault, delay, suspects)
