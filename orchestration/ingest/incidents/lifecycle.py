"""What happens to stored incidents by itself: signals are grouped, quiet ones end, silences run out.

Add a step here when time or a signal causes it. Avoid what people decide (`decisions`) and what is sent
(`delivery`).
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestration.ingest.incidents import signal_store, store
from orchestration.ingest.incidents.grouping import Grouped, Step, group, resolve_quiet
from orchestration.ingest.incidents.model import Family, Incident, IncidentState
from orchestration.ingest.incidents.pauses import DEFAULT_RULES, Rules
from orchestration.ingest.incidents.silences import silencing_period

HISTORY = timedelta(hours=24)
"""An incident that was over for this long before anybody could be told is kept and pages nobody: a replay
or a backfill of a year must not wake people about last spring."""
_HISTORY_WORDS = "history:"


@dataclass(frozen=True)
class Advance:
    """What one round did.

    Attributes:
        signals: Signals that were grouped.
        steps: Steps with the fingerprints of their incidents, in order.
    """

    signals: int
    steps: tuple[tuple[Step, str], ...]

    def count(self, step: Step) -> int:
        """How often a step was taken."""
        return sum(taken is step for taken, _ in self.steps)


def group_signals(
    connection: store.Connection,
    since: datetime | None = None,
    until: datetime | None = None,
    rules: Rules = DEFAULT_RULES,
) -> Advance:
    """Group the signals that belong to no incident yet, in the caller's transaction.

    Args:
        connection: Its transaction holds signals, incidents and timeline together.
        since: Only signals known at or after this (replay of a day).
        until: Only signals known before this.
        rules: Times of grouping.
    """
    store.lock(connection)
    by_tenant: defaultdict[str, list[signal_store.StoredSignal]] = defaultdict(list)
    pending = signal_store.signals_to_group(connection, since, until)
    for item in pending:
        by_tenant[item.signal.tenant_id].append(item)
    steps: list[tuple[Step, str]] = []
    for tenant_id, items in by_tenant.items():
        earliest = min(item.signal.known_at for item in items)
        known = store.recent_incidents(connection, tenant_id, earliest)
        topology = store.known_topology(connection, tenant_id)
        grouped = group([item.signal for item in items], known, topology, rules)
        steps += _keep(connection, grouped, store.plant_clock(connection, tenant_id))
        signal_store.assign(
            connection, [(items[place].signal_id, name) for place, name in grouped.members.items()]
        )
    return Advance(len(pending), tuple(steps))


def end_quiet_incidents(connection: store.Connection, now: datetime, rules: Rules = DEFAULT_RULES) -> Advance:
    """Resolve what has been quiet long enough, and let out what is no longer silenced.

    Incidents of logs, machines and models follow the plant's clock, so that a replay of old data ends its
    incidents in its own time; those of the platform follow the present.

    Args:
        connection: The caller's transaction.
        now: The present.
        rules: Times of grouping.
    """
    store.lock(connection)
    steps: list[tuple[Step, str]] = []
    for tenant_id, plant_now in store.clocks(connection).items():
        active = store.active_incidents(connection, tenant_id)
        for of_platform, clock in ((False, plant_now), (True, now)):
            if clock is None:
                continue
            grouped = resolve_quiet(active, tenant_id, clock, of_platform=of_platform, rules=rules)
            steps += _keep(connection, grouped, plant_now)
        for item in active:
            clock = now if item.family is Family.PLATFORM else plant_now
            if item.silenced_by and clock is not None:
                _let_out(connection, item.fingerprint, tenant_id, clock)
    return Advance(0, tuple(steps))


def _keep(
    connection: store.Connection, grouped: Grouped, plant_now: datetime | None
) -> list[tuple[Step, str]]:
    changed = {change.incident.fingerprint for change in grouped.changes}
    for fingerprint in sorted(changed):
        item = grouped.incidents[fingerprint]
        steps = [change for change in grouped.changes if change.incident.fingerprint == fingerprint]
        if steps[-1].step in {Step.OPENED, Step.REOPENED, Step.ESCALATED, Step.UPDATED}:
            item = _silence(connection, item, steps[-1].at)
        item = _as_history(item, plant_now)
        store.save_incident(connection, item)
        for change in steps:
            store.record_event(
                connection, item, change.step.value, change.at, detail=_detail(change.incident)
            )
        if item.state is IncidentState.MERGED and item.merged_into:
            signal_store.move_signals(connection, item.tenant_id, item.fingerprint, item.merged_into)
    return [(change.step, change.incident.fingerprint) for change in grouped.changes]


def _silence(connection: store.Connection, item: Incident, at: datetime) -> Incident:
    """An incident in a quiet period is kept and does not page; one that paged already goes on paging."""
    was_told = item.revision > 0 and item.silenced_by is None
    if was_told:
        return item
    period = silencing_period(item, store.quiet_periods(connection, item.tenant_id, at), at)
    return replace(item, silenced_by=f"{period.period_id}: {period.reason}" if period else None)


def _as_history(item: Incident, plant_now: datetime | None) -> Incident:
    first_seen = item.revision == 0 or (item.resolved_at is not None and item.revision == 1)
    if item.silenced_by or plant_now is None or not first_seen or item.family is Family.PLATFORM:
        return item
    if plant_now - item.last_at <= HISTORY:
        return item
    return replace(item, silenced_by=f"{_HISTORY_WORDS} it was over before it was seen")


def _is_history(item: Incident) -> bool:
    return (item.silenced_by or "").startswith(_HISTORY_WORDS)


def _let_out(connection: store.Connection, fingerprint: str, tenant_id: str, clock: datetime) -> None:
    item = store.find_incident(connection, tenant_id, fingerprint)
    if (
        not item.is_active
        or _is_history(item)
        or silencing_period(item, store.quiet_periods(connection, tenant_id, clock), clock)
    ):
        return
    told = replace(item, silenced_by=None, revision=item.revision + 1)
    store.save_incident(connection, told)
    store.record_event(connection, told, "unsilenced", clock, detail={"was": item.silenced_by})


def _detail(item: Incident) -> dict[str, object]:
    return {
        "state": item.state.value,
        "severity": item.severity.value,
        "subject": item.subject,
        "subjects": sorted(item.affected),
        "signals": item.signals,
        "revision": item.revision,
        "merged_into": item.merged_into,
    }
