"""Draws faults and the signals that detectors would give of them, with the truth beside.

Every parameter (services, calls, fault lengths, missed windows, lateness, false alarms) is drawn anew from
the seed, so that grouping can't be fitted to one plant. Add a kind of fault here when the plant gets one.
Avoid grouping: the truth must not know it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from orchestration.ingest.signals import Signal, SignalKind

TENANT = "demo-plant"
MINUTE = timedelta(minutes=1)
START = datetime(2026, 3, 2, tzinfo=UTC)

_KINDS: dict[str, tuple[SignalKind, ...]] = {
    "error_spike": (SignalKind.LOG_ERRORS, SignalKind.LOG_TEMPLATES, SignalKind.LOG_STATEMENTS),
    "latency": (SignalKind.LOG_LATENCY, SignalKind.LOG_STATEMENTS),
    "security": (SignalKind.LOG_SECURITY, SignalKind.LOG_TEMPLATES, SignalKind.LOG_ERRORS),
    "resource": (SignalKind.RESOURCE, SignalKind.LOG_LATENCY, SignalKind.LOG_TEMPLATES),
    "outage": (SignalKind.LOG_ERRORS, SignalKind.LOG_SILENCE, SignalKind.LOG_STATEMENTS),
    "data": (SignalKind.LOG_TEMPLATES, SignalKind.LOG_ERRORS),
    "machine": (SignalKind.TELEMETRY, SignalKind.DRIFT),
    "landing": (SignalKind.LANDING, SignalKind.DEAD_LETTERS, SignalKind.LIVENESS),
}
FAULT_TYPES = tuple(_KINDS)
_SPREADS = frozenset({"error_spike", "latency", "resource", "outage"})


@dataclass(frozen=True)
class Fault:
    """One injected fault.

    Attributes:
        fault_id: Number within the scenario.
        kind: One of `FAULT_TYPES`.
        subject: Service, machine or topic at fault.
        starts_at: First moment.
        ends_at: Last moment.
    """

    fault_id: int
    kind: str
    subject: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class Scenario:
    """A day of a drawn plant.

    Attributes:
        faults: What was injected.
        signals: What detectors said, in the order in which it was known.
        truth: Fault of each signal; None for a false alarm.
        edges: (caller, callee) pairs that tracing knows of: not all of them, and some wrong.
        hours: Length.
    """

    faults: tuple[Fault, ...]
    signals: tuple[Signal, ...]
    truth: tuple[int | None, ...]
    edges: tuple[tuple[str, str], ...]
    hours: float


def draw_scenario(seed: int, hours: float = 24.0, faults_per_hour: float = 2.0) -> Scenario:
    """Draw a plant, its faults and their signals.

    Args:
        seed: Same seed, same scenario.
        hours: Length.
        faults_per_hour: Mean rate; a sixth of the faults begins within ten minutes of another.
    """
    rng = np.random.default_rng(seed)
    services = [f"svc-{number:02d}" for number in range(int(rng.integers(8, 41)))]
    calls = _calls(rng, services)
    plant = _Plant(
        rng=rng,
        services=services,
        callers=_callers(calls),
        spread=float(rng.uniform(0.3, 0.9)),
        seen=float(rng.uniform(0.6, 0.97)),
        late_s=float(rng.uniform(1, 20)),
        traced=float(rng.uniform(0.0, 1.0)),
    )
    faults = list(_faults(plant, hours, faults_per_hour))
    found = [(signal, fault.fault_id) for fault in faults for signal in plant.signals_of(fault)]
    alarms = [
        (plant.false_alarm(hours), None) for _ in range(int(rng.poisson(hours * rng.uniform(0.1, 1.0))))
    ]
    rows = sorted([*found, *alarms], key=lambda row: (row[0].known_at, row[0].subject, row[0].kind.value))
    known = [edge for edge in calls if rng.random() < 0.85]
    wrong = [(str(rng.choice(services)), str(rng.choice(services))) for _ in range(int(rng.integers(0, 4)))]
    return Scenario(
        faults=tuple(faults),
        signals=tuple(signal for signal, _ in rows),
        truth=tuple(fault for _, fault in rows),
        edges=tuple(sorted({*known, *wrong})),
        hours=hours,
    )


def _calls(rng: np.random.Generator, services: list[str]) -> list[tuple[str, str]]:
    """A layered graph: each service but the first is called by one to three that come before it."""
    edges: list[tuple[str, str]] = []
    for place in range(1, len(services)):
        width = int(min(place, rng.integers(1, 4)))
        edges += [
            (services[int(index)], services[place]) for index in rng.choice(place, width, replace=False)
        ]
    return edges


def _callers(calls: list[tuple[str, str]]) -> dict[str, list[str]]:
    callers: dict[str, list[str]] = {}
    for caller, callee in calls:
        callers.setdefault(callee, []).append(caller)
    return callers


def _faults(plant: "_Plant", hours: float, per_hour: float) -> Iterator[Fault]:
    rng = plant.rng
    count = max(int(rng.poisson(hours * per_hour)), 1)
    starts = list(np.sort(rng.uniform(5, hours * 60 - 30, count)))
    for place in range(1, count):
        if rng.random() < 1 / 6:
            starts[place] = starts[place - 1] + rng.uniform(0, 10)
    previous: Fault | None = None
    for number, minute in enumerate(sorted(starts)):
        starts_at = START + timedelta(minutes=float(minute))
        kind = str(rng.choice(FAULT_TYPES, p=[0.22, 0.18, 0.14, 0.14, 0.14, 0.08, 0.05, 0.05]))
        subject = plant.subject_of(kind)
        if previous is not None and rng.random() < 0.1:
            kind, subject = previous.kind, previous.subject  # the same trouble again
        length = timedelta(hours=float(rng.uniform(2, 12))) if kind == "machine" else plant.length()
        previous = Fault(number, kind, subject, starts_at, starts_at + length)
        yield previous


@dataclass(frozen=True)
class _Plant:
    rng: np.random.Generator
    services: list[str]
    callers: dict[str, list[str]]
    spread: float
    seen: float
    late_s: float
    traced: float

    def subject_of(self, kind: str) -> str:
        if kind == "machine":
            return f"CNC-A-{self.rng.integers(101, 107)}"
        if kind == "landing":
            return f"topic:{self.rng.choice(['equipment-sensors', 'quality-metrics', 'raw_logs'])}"
        return str(self.rng.choice(self.services))

    def length(self) -> timedelta:
        """Mostly one to four minutes, sometimes a quarter of an hour."""
        return timedelta(minutes=float(min(self.rng.lognormal(0.9, 0.8), 15.0)))

    def signals_of(self, fault: Fault) -> Iterator[Signal]:
        """What detectors say of a fault: at least one finding; windows are missed at random."""
        if fault.kind == "machine":
            yield from self._machine(fault)
            return
        kinds = _KINDS[fault.kind]
        victims = self._victims(fault)
        operation = self._operation() if fault.kind in _SPREADS else None
        last = max(int((fault.ends_at - fault.starts_at) / MINUTE), 0)
        said = False
        for window in range(last + 1):
            end = _minute(fault.starts_at + MINUTE * (window + 1))
            if self.rng.random() > self.seen and (said or window < last):
                continue
            said = True
            spoken = [kind for kind in kinds if self.rng.random() < 0.6] or [kinds[0]]
            for kind in spoken:
                yield self._signal(kind, fault.subject, end, 8.0, operation)
            for victim, lag in victims:
                if lag <= window and self.rng.random() < self.seen:
                    kind = SignalKind.LOG_LATENCY if fault.kind == "latency" else SignalKind.LOG_ERRORS
                    yield self._signal(kind, victim, end, 7.0, operation)

    def false_alarm(self, hours: float) -> Signal:
        """One finding of one window that no fault stands behind."""
        end = _minute(START + timedelta(minutes=float(self.rng.uniform(5, hours * 60))))
        kind = SignalKind(self.rng.choice(["log_latency", "log_templates", "log_statements", "log_errors"]))
        return self._signal(kind, str(self.rng.choice(self.services)), end, 5.5, self._operation())

    def _operation(self) -> str:
        """Requests enter by few operations; unrelated faults often touch the same one."""
        return f"operation-{self.rng.integers(0, 8)}"

    def _machine(self, fault: Fault) -> Iterator[Signal]:
        hours = int((fault.ends_at - fault.starts_at) / timedelta(hours=1))
        for hour in range(1, hours + 1):
            if hour == 1 or self.rng.random() < self.seen:
                end = fault.starts_at + timedelta(hours=hour)
                yield self._signal(SignalKind.TELEMETRY, fault.subject, end, 9.0, None)
        if self.rng.random() < 0.4:
            end = fault.ends_at + timedelta(hours=float(self.rng.uniform(1, 20)))
            yield self._signal(SignalKind.DRIFT, fault.subject, end, 6.0, None)

    def _victims(self, fault: Fault) -> list[tuple[str, int]]:
        """Callers, and their callers, that the fault reaches, with the windows that it takes."""
        if fault.kind not in _SPREADS:
            return []
        reached: dict[str, int] = {}
        front, lag = [fault.subject], 0
        for _ in range(2):
            lag += int(self.rng.integers(0, 2))
            front = [
                caller
                for service in front
                for caller in self.callers.get(service, [])
                if caller not in reached and caller != fault.subject and self.rng.random() < self.spread
            ]
            reached.update(dict.fromkeys(front, lag))
        return list(reached.items())

    def _signal(
        self, kind: SignalKind, subject: str, end: datetime, strength: float, operation: str | None
    ) -> Signal:
        operations = (operation,) if operation and self.rng.random() < self.traced else ()
        return Signal(
            tenant_id=TENANT,
            kind=kind,
            subject=subject,
            observed_at=end,
            known_at=end + timedelta(seconds=float(self.rng.uniform(0, self.late_s))),
            score=strength + float(self.rng.exponential(3.0)),
            summary=f"{kind.value} of {subject}",
            operations=operations,
            evidence={"starts_at": (end - MINUTE).isoformat()},
        )


def _minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)
