"""Who joins whom: signals of one cause become one incident.

Three questions decide, in this order: are signal and incident about the same subject, or about subjects
that call each other or share an operation; are they near in time, each kind by its own cadence; and is
there one incident that fits, or several that are then one. Add a rule here with the eval that shows its
use (`opsgraph eval incidents`). Avoid storage, wording and severity.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

from orchestration.ingest.incidents.impact import rank_suspects, severity_of
from orchestration.ingest.incidents.model import (
    Affected,
    Family,
    Incident,
    IncidentState,
    cause_key,
    digest,
    evidence_start,
    family_of,
    touched,
)
from orchestration.ingest.incidents.pauses import DEFAULT_RULES, LOG_KINDS, Rules
from orchestration.ingest.incidents.topology import Topology
from orchestration.ingest.signals import Signal, SignalKind


class Step(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    UPDATED = "updated"
    ESCALATED = "escalated"
    REOPENED = "reopened"
    RESOLVED = "resolved"
    MERGED = "merged"


class _Fit(IntEnum):
    """How well signals fit an incident, best first."""

    SUBJECT = 1
    RELATED = 2
    RETURN = 3
    CHANCE = 4


@dataclass(frozen=True)
class Change:
    """One step of one incident, and the incident after it."""

    step: Step
    incident: Incident
    at: datetime


@dataclass(frozen=True)
class Grouped:
    """What a batch of signals did.

    Attributes:
        incidents: Every incident that is worth keeping in memory, by fingerprint.
        changes: Steps in order.
        members: Position of each signal in the batch to the fingerprint of its incident.
    """

    incidents: Mapping[str, Incident]
    changes: tuple[Change, ...]
    members: Mapping[int, str]


def group(
    signals: Sequence[Signal],
    incidents: Iterable[Incident],
    topology: Topology,
    rules: Rules = DEFAULT_RULES,
) -> Grouped:
    """Assign signals to incidents.

    The result depends on the set of signals, not on the order in which a batch lists them.

    Args:
        signals: New findings of one or more tenants.
        incidents: Active and lately resolved incidents.
        topology: Calls between subjects.
        rules: Times.
    """
    book = _Book({item.fingerprint: item for item in incidents}, topology, rules)
    slices: defaultdict[tuple[datetime, str, bool], list[int]] = defaultdict(list)
    for place in sorted(range(len(signals)), key=lambda place: _order(signals[place])):
        closed = signals[place].known_at.replace(second=0, microsecond=0)
        of_platform = family_of(frozenset({signals[place].kind})) is Family.PLATFORM
        slices[closed, signals[place].tenant_id, of_platform].append(place)
    for (_, tenant_id, of_platform), places in sorted(slices.items()):
        known_at = min(signals[place].known_at for place in places)
        book.resolve_quiet(known_at, tenant_id, of_platform=of_platform)
        for component in _components([signals[place] for place in places], topology):
            book.take([(places[index], signals[places[index]]) for index in component])
    return Grouped(book.incidents, tuple(book.changes), book.members)


def resolve_quiet(
    incidents: Iterable[Incident],
    tenant_id: str,
    now: datetime,
    *,
    of_platform: bool,
    rules: Rules = DEFAULT_RULES,
) -> Grouped:
    """Resolve what has been quiet long enough; no signal is needed for it.

    Args:
        incidents: Incidents of the tenant.
        tenant_id: Owner.
        now: The plant's clock; for incidents of the platform itself, which a replay does not move, the
            present.
        of_platform: Which of the two clocks `now` is, and so which incidents it is for.
        rules: Times.
    """
    book = _Book({item.fingerprint: item for item in incidents}, Topology(), rules)
    book.resolve_quiet(now, tenant_id, of_platform=of_platform)
    return Grouped(book.incidents, tuple(book.changes), book.members)


class _Book:
    """The incidents while a batch is worked in."""

    def __init__(self, incidents: dict[str, Incident], topology: Topology, rules: Rules) -> None:
        self.incidents, self._topology, self._rules = incidents, topology, rules
        self.changes: list[Change] = []
        self.members: dict[int, str] = {}

    def resolve_quiet(self, now: datetime, tenant_id: str, *, of_platform: bool) -> None:
        """Resolve the tenant's incidents of one clock whose evidence ended long enough ago."""
        for item in list(self.incidents.values()):
            if item.tenant_id != tenant_id or not item.is_active:
                continue
            if (item.family is Family.PLATFORM) is not of_platform:
                continue
            end = item.last_at + self._rules.pause(item.kinds, self._rules.quiet)
            if now >= end:
                self._put(
                    replace(item, state=IncidentState.RESOLVED, resolved_at=end, revision=item.revision + 1),
                    Step.RESOLVED,
                    end,
                )

    def take(self, component: Sequence[tuple[int, Signal]]) -> None:
        """Give signals of one cause to the incident that fits, or open one."""
        signals = [signal for _, signal in component]
        fits = [(fit, item) for item in self.incidents.values() if (fit := self._fit(item, signals))]
        if not fits:
            incident = self._open(signals)
        else:
            _, target = min(fits, key=lambda pair: (pair[0], pair[1].started_at, pair[1].fingerprint))
            for fit, other in fits:
                if fit < _Fit.CHANCE and other is not target and self._is_one_cause(target, other):
                    target = self._merge(target, other, signals[0].known_at)
            incident = self._extend(target, signals)
        for place, _ in component:
            self.members[place] = incident.fingerprint

    def _fit(self, item: Incident, signals: Sequence[Signal]) -> "_Fit | None":
        if item.tenant_id != signals[0].tenant_id or item.state is IncidentState.MERGED:
            return None
        if not item.is_active:
            return _Fit.RETURN if self._comes_back(item, signals) else None
        return min((fit for signal in signals if (fit := self._join(item, signal))), default=None)

    def _join(self, item: Incident, signal: Signal) -> "_Fit | None":
        rules = self._rules
        known = item.affected.get(signal.subject)
        if known is not None:
            pause = rules.pause({signal.kind, *known.kinds}, rules.same_subject)
            if _distance(signal, known.first_at, known.last_at) <= pause:
                return _Fit.SUBJECT
        if _distance(signal, item.started_at, item.last_at) <= rules.related and (
            (item.operations | item.affected.keys()) & touched(signal)
            or any(self._topology.are_neighbours(signal.subject, subject) for subject in item.affected)
        ):
            return _Fit.RELATED
        together = _distance(signal, item.started_at, item.started_at) <= rules.coincidence
        return _Fit.CHANCE if together and self._coincides(item, signal) else None

    def _coincides(self, item: Incident, signal: Signal) -> bool:
        """Whether being first seen in the same minute is reason enough.

        Troubles are rare: at two an hour, one of the next 30 minutes brings another by chance, so two
        services that fail in one minute fail of one cause, unless the calls between all services are known
        and neither is near the other, or incidents come so often that chance is an explanation.
        """
        if not {signal.kind, *item.kinds} <= LOG_KINDS or self._is_busy(item):
            return False
        return any(
            self._topology.are_near(signal.subject, subject)
            or not (self._topology.knows(signal.subject) and self._topology.knows(subject))
            for subject in item.affected
        )

    def _is_busy(self, item: Incident) -> bool:
        day = timedelta(hours=24)
        others = [
            other
            for other in self.incidents.values()
            if other.tenant_id == item.tenant_id and timedelta(0) < item.started_at - other.started_at <= day
        ]
        return len(others) * self._rules.coincidence / day > self._rules.chance

    def _comes_back(self, item: Incident, signals: Sequence[Signal]) -> bool:
        family = family_of(frozenset(signal.kind for signal in signals))
        about = [signal for signal in signals if signal.subject == item.subject]
        if not about or not (family is item.family or _is_late_word(item, signals)):
            return False
        pause = self._rules.pause({*item.kinds, *(signal.kind for signal in about)}, self._rules.reopen)
        return min(_distance(signal, item.started_at, item.last_at) for signal in about) <= pause

    def _is_one_cause(self, one: Incident, other: Incident) -> bool:
        """Two incidents that the same findings fit are one, unless both have stood side by side for long."""
        pause = self._rules.pause(one.kinds | other.kinds, self._rules.related)
        return one.is_active and other.is_active and abs(one.started_at - other.started_at) <= pause

    def _open(self, signals: Sequence[Signal]) -> Incident:
        affected: dict[str, Affected] = {}
        for signal in signals:
            known = affected.get(signal.subject)
            affected[signal.subject] = known.with_signal(signal) if known else Affected.of(signal)
        family = family_of(frozenset(signal.kind for signal in signals))
        subject = rank_suspects(affected, self._topology)[0].subject
        tenant_id = signals[0].tenant_id
        key = cause_key(tenant_id, family, subject)
        first = min(signals, key=_order)
        incident = Incident(
            tenant_id=tenant_id,
            fingerprint=digest(key, first.observed_at.isoformat(), first.kind.value, first.subject),
            cause_key=key,
            state=IncidentState.OPEN,
            severity=severity_of(affected),
            subject=subject,
            started_at=min(evidence_start(signal) for signal in signals),
            detected_at=min(signal.known_at for signal in signals),
            last_at=max(signal.observed_at for signal in signals),
            affected=affected,
            operations=frozenset(name for signal in signals for name in signal.operations),
        )
        return self._put(incident, Step.OPENED, incident.detected_at)

    def _extend(self, item: Incident, signals: Sequence[Signal]) -> Incident:
        affected = dict(item.affected)
        for signal in signals:
            known = affected.get(signal.subject)
            affected[signal.subject] = known.with_signal(signal) if known else Affected.of(signal)
        severity = max(item.severity, severity_of(affected), key=lambda level: level.rank)
        comes_back = not item.is_active and not _is_late_word(item, signals)
        step = Step.REOPENED if comes_back else Step.UPDATED
        if step is Step.UPDATED and severity is not item.severity and item.is_active:
            step = Step.ESCALATED
        extended = replace(
            item,
            state=IncidentState.OPEN if comes_back else item.state,
            resolved_at=None if comes_back else item.resolved_at,
            reopened=item.reopened + comes_back,
            severity=severity,
            subject=rank_suspects(affected, self._topology)[0].subject,
            started_at=min(item.started_at, *(evidence_start(signal) for signal in signals)),
            last_at=max(item.last_at, *(signal.observed_at for signal in signals)),
            affected=affected,
            operations=item.operations.union(*(signal.operations for signal in signals)),
            revision=item.revision + (step is not Step.UPDATED),
        )
        return self._put(extended, step, min(signal.known_at for signal in signals))

    def _merge(self, target: Incident, other: Incident, at: datetime) -> Incident:
        """The older one takes the younger one's subjects over; both stay, one as merged."""
        affected = dict(target.affected)
        for name, item in other.affected.items():
            affected[name] = _both(affected[name], item) if name in affected else item
        self._put(
            replace(
                other,
                state=IncidentState.MERGED,
                merged_into=target.fingerprint,
                resolved_at=at,
                revision=other.revision + 1,
            ),
            Step.MERGED,
            at,
        )
        for place, fingerprint in self.members.items():
            if fingerprint == other.fingerprint:
                self.members[place] = target.fingerprint
        merged = replace(
            target,
            affected=affected,
            started_at=min(target.started_at, other.started_at),
            detected_at=min(target.detected_at, other.detected_at),
            last_at=max(target.last_at, other.last_at),
            operations=target.operations | other.operations,
        )
        self.incidents[merged.fingerprint] = merged
        return merged

    def _put(self, incident: Incident, step: Step, at: datetime) -> Incident:
        self.incidents[incident.fingerprint] = incident
        self.changes.append(Change(step, incident, at))
        return incident


def _components(signals: Sequence[Signal], topology: Topology) -> list[list[int]]:
    """Signals of one window that are about the same thing, as lists of positions."""
    parent = list(range(len(signals)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    by_subject: defaultdict[str, list[int]] = defaultdict(list)
    by_name: defaultdict[str, list[int]] = defaultdict(list)
    for place, signal in enumerate(signals):
        by_subject[signal.subject].append(place)
        for name in touched(signal):
            by_name[name].append(place)
    for _, places in sorted(by_name.items()):
        for place in places[1:]:
            parent[root(place)] = root(places[0])
    subjects = sorted(by_subject)
    for number, one in enumerate(subjects):
        for other in subjects[number + 1 :]:
            if topology.are_neighbours(one, other):  # chance meetings are judged against open incidents
                parent[root(by_subject[one][0])] = root(by_subject[other][0])
    components: defaultdict[int, list[int]] = defaultdict(list)
    for place in range(len(signals)):
        components[root(place)].append(place)
    return [components[key] for key in sorted(components, key=lambda key: components[key][0])]


def _is_late_word(item: Incident, signals: Sequence[Signal]) -> bool:
    """A drift verdict comes hours after the machine's trouble that it explains: no reason to page again."""
    drift_alone = all(signal.kind is SignalKind.DRIFT for signal in signals)
    return not item.is_active and drift_alone and item.family is Family.MACHINE


def _distance(signal: Signal, first: datetime, last: datetime) -> timedelta:
    """Time between a signal's evidence and an interval; none when they overlap."""
    start, end = evidence_start(signal), signal.observed_at
    return max(start - last, first - end, timedelta(0))


def _both(one: Affected, other: Affected) -> Affected:
    stronger = one if one.peak_score >= other.peak_score else other
    return Affected(
        min(one.first_at, other.first_at),
        max(one.last_at, other.last_at),
        stronger.peak_score,
        one.kinds | other.kinds,
        one.signals + other.signals,
        stronger.summary,
    )


def _order(signal: Signal) -> tuple[datetime, datetime, str, str, str]:
    return signal.known_at, signal.observed_at, signal.tenant_id, signal.subject, signal.kind.value
