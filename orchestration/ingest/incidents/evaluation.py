"""How well signals become incidents: faults against the incidents that their signals ended in.

Add a measure here when a person on call would notice the difference. Avoid drawing scenarios.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from orchestration.ingest.incidents.grouping import Grouped, Step, group
from orchestration.ingest.incidents.pauses import DEFAULT_RULES, Rules
from orchestration.ingest.incidents.topology import topology_of
from orchestration.ingest.signals import Signal
from orchestration.ingest.simulators.incident_signals import FAULT_TYPES, Fault, Scenario, draw_scenario

FAR = timedelta(minutes=10)


@dataclass(frozen=True)
class FaultOutcome:
    """What became of one fault: incidents that hold its signals, and whether it was named."""

    kind: str
    incidents: int
    alerts: int
    is_named_first: bool
    seconds_to_detect: float | None


@dataclass(frozen=True)
class GroupingQuality:
    """Figures over all scenarios of a run.

    Attributes:
        seed: First seed.
        scenarios: Scenarios drawn.
        faults: Faults injected.
        exactly_one: Share of faults that ended in exactly one incident.
        merged_far: Share of incidents that hold two faults which began more than ten minutes apart.
        worst_type: Fault type with the lowest share.
        worst_type_exactly_one: Its share.
        alerts_per_fault: Mean pages (opened or reopened incidents) per fault.
        signals_per_fault: Mean signals per fault: what a person would be sent without grouping.
        named_first: Share of faults whose subject is the incident's first suspect.
        median_seconds_to_detect: From a fault's start to the moment when its incident was known.
    """

    seed: int
    scenarios: int
    faults: int
    exactly_one: float
    merged_far: float
    worst_type: str
    worst_type_exactly_one: float
    alerts_per_fault: float
    signals_per_fault: float
    named_first: float
    median_seconds_to_detect: float


def evaluate_grouping(seed: int, scenarios: int = 20, rules: Rules = DEFAULT_RULES) -> GroupingQuality:
    """Draw scenarios from a seed, group their signals and compare.

    Args:
        seed: Scenario number i is drawn from (seed + i).
        scenarios: Days to draw.
        rules: Times of grouping.
    """
    outcomes: list[FaultOutcome] = []
    far = incidents = signals = 0
    for number in range(scenarios):
        drawn = draw_scenario(seed + number)
        grouped = group(drawn.signals, [], topology_of(drawn.edges), rules)
        outcomes += fault_outcomes(drawn.faults, drawn.signals, drawn.truth, grouped)
        total, merged = merged_far(drawn, grouped)
        incidents, far = incidents + total, far + merged
        signals += sum(fault is not None for fault in drawn.truth)
    by_type = {
        kind: _share([item.incidents == 1 for item in outcomes if item.kind == kind])
        for kind in FAULT_TYPES
        if any(item.kind == kind for item in outcomes)
    }
    worst = min(by_type, key=lambda kind: by_type[kind])
    seen = [item.seconds_to_detect for item in outcomes if item.seconds_to_detect is not None]
    return GroupingQuality(
        seed=seed,
        scenarios=scenarios,
        faults=len(outcomes),
        exactly_one=_share([item.incidents == 1 for item in outcomes]),
        merged_far=far / incidents if incidents else 0.0,
        worst_type=worst,
        worst_type_exactly_one=by_type[worst],
        alerts_per_fault=statistics.fmean(item.alerts for item in outcomes),
        signals_per_fault=signals / len(outcomes),
        named_first=_share([item.is_named_first for item in outcomes]),
        median_seconds_to_detect=statistics.median(seen) if seen else float("nan"),
    )


def fault_outcomes(
    faults: Sequence[Fault], signals: Sequence[Signal], truth: Sequence[int | None], grouped: Grouped
) -> list[FaultOutcome]:
    """Each fault with the incidents that its signals ended in; a fault without a signal has none."""
    homes: defaultdict[int, set[str]] = defaultdict(set)
    pages: defaultdict[str, int] = defaultdict(int)
    for place, fault in enumerate(truth):
        if fault is not None:
            homes[fault].add(grouped.members[place])
    for change in grouped.changes:
        if change.step in {Step.OPENED, Step.REOPENED}:
            pages[_survivor(grouped, change.incident.fingerprint)] += 1
    outcomes: list[FaultOutcome] = []
    for fault in faults:
        held = [grouped.incidents[name] for name in homes[fault.fault_id]]
        detected = min((item.detected_at for item in held), default=None)
        outcomes.append(
            FaultOutcome(
                kind=fault.kind,
                incidents=len(held),
                alerts=sum(pages[item.fingerprint] for item in held),
                is_named_first=any(item.subject == fault.subject for item in held),
                seconds_to_detect=(detected - fault.starts_at).total_seconds() if detected else None,
            )
        )
    return outcomes


def merged_far(drawn: Scenario, grouped: Grouped) -> tuple[int, int]:
    """Incidents that hold faults, and those of them that hold two which began more than ten minutes apart."""
    starts: Mapping[int, Fault] = {fault.fault_id: fault for fault in drawn.faults}
    held: defaultdict[str, list[Fault]] = defaultdict(list)
    for place, fault in enumerate(drawn.truth):
        if fault is not None:
            held[grouped.members[place]].append(starts[fault])
    far = sum(
        max(fault.starts_at for fault in faults) - min(fault.starts_at for fault in faults) > FAR
        for faults in held.values()
    )
    return len(held), far


def _survivor(grouped: Grouped, fingerprint: str) -> str:
    merged_into = grouped.incidents[fingerprint].merged_into
    return _survivor(grouped, merged_into) if merged_into else fingerprint


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
