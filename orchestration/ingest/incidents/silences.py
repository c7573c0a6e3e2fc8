"""When an incident is kept but nobody is paged: maintenance windows and the plant's calendar.

Add a rule here when a planned event makes a kind of finding expected. Avoid dropping signals: a silenced
incident is kept, and pages when its silence ends before it does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from orchestration.ingest.incidents.model import Incident
from orchestration.ingest.incidents.pauses import LOG_KINDS
from orchestration.ingest.signals import SignalKind

_PLATFORM = frozenset({SignalKind.LANDING, SignalKind.DEAD_LETTERS, SignalKind.LIVENESS})
_READINGS = frozenset({SignalKind.TELEMETRY, SignalKind.DRIFT})

EXPECTED: dict[str, frozenset[SignalKind]] = {
    "silence": LOG_KINDS | _READINGS | _PLATFORM,
    "maintenance": LOG_KINDS | _READINGS,
    "outage": LOG_KINDS | _PLATFORM,
    "sensor_fault": _READINGS,
    "holiday": frozenset({SignalKind.LOG_SILENCE, SignalKind.DRIFT}),
}
"""Findings that each kind of period explains. None explains an attack: `log_security` always pages.
Periods of kind `anomaly` and `recall` record what happened and explain nothing."""


@dataclass(frozen=True)
class QuietPeriod:
    """A period in which some findings are expected.

    Attributes:
        period_id: For people: `silence 3`, `calendar <incident_id>`.
        kind: A key of `EXPECTED`.
        subject_pattern: Subject with `*` and `?`; `*` for all.
        starts_at: First moment.
        ends_at: End, not included.
        reason: Why.
    """

    period_id: str
    kind: str
    subject_pattern: str
    starts_at: datetime
    ends_at: datetime
    reason: str


def silencing_period(incident: Incident, periods: Iterable[QuietPeriod], now: datetime) -> QuietPeriod | None:
    """The period that keeps an incident's alerts back; None where it must page.

    Every affected subject must be covered, and every kind of finding expected: a fault next door, or an
    attack during maintenance, is still news.

    Args:
        incident: What would page.
        periods: Silences and calendar entries of its tenant.
        now: The tenant's clock.
    """
    for period in sorted(periods, key=lambda item: (item.starts_at, item.period_id)):
        if not period.starts_at <= now < period.ends_at:
            continue
        covered = all(fnmatchcase(subject, period.subject_pattern) for subject in incident.affected)
        if covered and incident.kinds <= EXPECTED.get(period.kind, frozenset()):
            return period
    return None
