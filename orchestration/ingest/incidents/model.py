"""What an incident is: its states, its affected subjects, and how long it took to see and to end.

Add a field when grouping, alerts and reports all need it. Avoid rules here: who joins whom stands in
`grouping`, how bad it is in `impact`, what caused it in `causes`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from orchestration.ingest.signals import Signal, SignalKind


class IncidentState(StrEnum):
    """Where an incident stands; a reopened one is open again and counts its reopenings."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    MERGED = "merged"


class Severity(StrEnum):
    """How much an incident matters now, from its impact."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info to 2 for critical, for comparisons."""
        return list(Severity).index(self)


class Family(StrEnum):
    """What kind of trouble an incident is; part of the key by which a recurrence is known."""

    SERVICE = "service"
    SECURITY = "security"
    MACHINE = "machine"
    MODEL = "model"
    PLATFORM = "platform"


_FAMILIES = {
    SignalKind.LOG_SECURITY: Family.SECURITY,
    SignalKind.TELEMETRY: Family.MACHINE,
    SignalKind.DRIFT: Family.MODEL,
    SignalKind.LANDING: Family.PLATFORM,
    SignalKind.DEAD_LETTERS: Family.PLATFORM,
    SignalKind.LIVENESS: Family.PLATFORM,
}


def family_of(kinds: frozenset[SignalKind]) -> Family:
    """The family that a set of signal kinds speaks of; attacks win, then broken machines.

    >>> family_of(frozenset({SignalKind.LOG_ERRORS, SignalKind.LOG_SECURITY})).value
    'security'
    """
    present = {_FAMILIES.get(kind, Family.SERVICE) for kind in kinds}
    order = (Family.SECURITY, Family.MACHINE, Family.PLATFORM, Family.SERVICE, Family.MODEL)
    return next(family for family in order if family in present)


@dataclass(frozen=True)
class Affected:
    """What is known about one subject of an incident.

    Attributes:
        first_at: Event time of its first signal.
        last_at: Event time of its last signal.
        peak_score: Highest score (-log10 of the tail probability).
        kinds: Which detectors spoke.
        signals: Number of signals.
        summary: Sentence of the strongest signal.
    """

    first_at: datetime
    last_at: datetime
    peak_score: float
    kinds: frozenset[SignalKind]
    signals: int
    summary: str

    def with_signal(self, signal: Signal) -> "Affected":
        """The same subject after one more signal."""
        stronger = signal.score > self.peak_score
        return Affected(
            min(self.first_at, signal.observed_at),
            max(self.last_at, signal.observed_at),
            max(self.peak_score, signal.score),
            self.kinds | {signal.kind},
            self.signals + 1,
            signal.summary if stronger else self.summary,
        )

    @classmethod
    def of(cls, signal: Signal) -> "Affected":
        """A subject with its first signal."""
        return cls(
            signal.observed_at, signal.observed_at, signal.score, frozenset({signal.kind}), 1, signal.summary
        )


@dataclass(frozen=True)
class Incident:
    """One cause, as far as grouping can tell.

    Attributes:
        tenant_id: Owner.
        fingerprint: Identity: tenant, cause key and the time of the first signal. Alerts repeat it.
        cause_key: Tenant, family and subject at fault: equal for recurrences of the same trouble.
        state: Where it stands.
        severity: From impact; never lowered while it is open.
        subject: Service, machine, topic or job that is most likely at fault.
        started_at: Start of the earliest evidence.
        detected_at: When the first signal was known.
        last_at: Event time of the last signal.
        affected: Subjects with their signals, by name.
        operations: Operations that the signals touch.
        revision: Counts the changes that are worth an alert.
        reopened: How often it came back after it was resolved.
        acknowledged_at: When a person took it.
        acknowledged_by: Who took it.
        resolved_at: When it ended; None while it is open.
        merged_into: Fingerprint of the incident that took it over.
        silenced_by: Rule that keeps its alerts back; None where there is none.
    """

    tenant_id: str
    fingerprint: str
    cause_key: str
    state: IncidentState
    severity: Severity
    subject: str
    started_at: datetime
    detected_at: datetime
    last_at: datetime
    affected: Mapping[str, Affected]
    operations: frozenset[str] = field(default_factory=frozenset[str])
    revision: int = 0
    reopened: int = 0
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    resolved_at: datetime | None = None
    merged_into: str | None = None
    silenced_by: str | None = None

    @property
    def is_active(self) -> bool:
        """Whether signals may still join without reopening it."""
        return self.state in {IncidentState.OPEN, IncidentState.ACKNOWLEDGED}

    @property
    def kinds(self) -> frozenset[SignalKind]:
        """Which detectors spoke of any of its subjects."""
        return frozenset[SignalKind]().union(*(item.kinds for item in self.affected.values()))

    @property
    def family(self) -> Family:
        """What kind of trouble it is."""
        return family_of(self.kinds)

    @property
    def signals(self) -> int:
        """Number of signals of all subjects."""
        return sum(item.signals for item in self.affected.values())

    @property
    def time_to_detect(self) -> timedelta:
        """From the first evidence to the moment when it was known."""
        return max(self.detected_at - self.started_at, timedelta(0))

    @property
    def time_to_resolve(self) -> timedelta | None:
        """From the moment when it was known to its end; None while it is open."""
        return max(self.resolved_at - self.detected_at, timedelta(0)) if self.resolved_at else None


def digest(*parts: str) -> str:
    """A short stable identity of some texts (128 bits; the separator can't occur in them)."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def cause_key(tenant_id: str, family: Family, subject: str) -> str:
    """Identity of a kind of trouble at one place, whenever it occurs."""
    return digest(tenant_id, family.value, subject)


def evidence_start(signal: Signal) -> datetime:
    """When the evidence of a signal begins: detectors of windows say it, others mean the instant."""
    for name in ("starts_at", "window_starts_at"):
        value = signal.evidence.get(name)
        if not isinstance(value, str):
            continue
        try:
            begun = datetime.fromisoformat(value)
        except ValueError:
            continue
        if begun.tzinfo is not None:
            return min(begun, signal.observed_at)
    return signal.observed_at


def touched(signal: Signal) -> frozenset[str]:
    """Everything that a signal names: its subject, and the operations or neighbours in its traces."""
    return frozenset({signal.subject, *signal.operations})
