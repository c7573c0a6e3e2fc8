"""Incidents as rows of Postgres.

Add a column here and in the migration when an incident learns something new. Avoid decisions: grouping and
lifecycle make them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row

from orchestration.ingest.incidents.model import Affected, Incident, IncidentState, Severity
from orchestration.ingest.incidents.silences import QuietPeriod
from orchestration.ingest.incidents.topology import Topology, topology_of
from orchestration.ingest.signals import SignalKind

Connection = psycopg.Connection[Any]
GROUPING_LOCK = 7_242_009
"""Advisory lock of whoever changes incidents; grouping and people's decisions take turns."""
MEMORY = timedelta(hours=48)  # drift verdicts join what is up to 36 h old
SIGNALS_PER_ROUND = 2_000


class UnknownIncidentError(LookupError):
    """No incident of the tenant has this fingerprint, or several begin with it."""


@dataclass(frozen=True)
class TimelineEvent:
    """One step of an incident's life."""

    step: str
    at: datetime
    actor: str
    detail: dict[str, Any]


def lock(connection: Connection) -> None:
    """Wait for the turn to change incidents; given back with the transaction."""
    connection.execute("select pg_advisory_xact_lock(%s)", (GROUPING_LOCK,))


def recent_incidents(connection: Connection, tenant_id: str, at: datetime) -> list[Incident]:
    """Incidents that signals of this time may join: active ones, and those of the last two days."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select * from ops.incidents
            where tenant_id = %s and state <> 'merged'
                and (state in ('open', 'acknowledged') or last_at > %s)
            """,
            (tenant_id, at - MEMORY),
        ).fetchall()
    return [_incident(row) for row in rows]


def active_incidents(connection: Connection, tenant_id: str) -> list[Incident]:
    """Incidents that are open or acknowledged."""
    return list_incidents(
        connection, tenant_id, (IncidentState.OPEN, IncidentState.ACKNOWLEDGED), SIGNALS_PER_ROUND
    )


def plant_clock(connection: Connection, tenant_id: str) -> datetime | None:
    """How late it is in a tenant's plant: its latest landed event or judged window."""
    row = connection.execute(
        """
        select greatest(
            (select max(plant_now_at) from ops.plant_clock where tenant_id = %(tenant)s),
            (select max(judged_until) from logs.detector_state where tenant_id = %(tenant)s),
            (select max(known_at) from ops.signals where tenant_id = %(tenant)s
                and kind not in ('landing', 'dead_letters', 'liveness'))
        )
        """,
        {"tenant": tenant_id},
    ).fetchone()
    return row[0] if row else None


def clocks(connection: Connection) -> dict[str, datetime | None]:
    """Tenants with active incidents, and how late it is in each one's plant."""
    rows = connection.execute(
        "select distinct tenant_id from ops.incidents where state in ('open', 'acknowledged')"
    ).fetchall()
    return {tenant_id: plant_clock(connection, tenant_id) for (tenant_id,) in rows}


def find_incident(connection: Connection, tenant_id: str, prefix: str) -> Incident:
    """The incident whose fingerprint begins with a text.

    Raises:
        UnknownIncidentError: There is none, or more than one.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "select * from ops.incidents where tenant_id = %s and starts_with(fingerprint, %s) limit 2",
            (tenant_id, prefix),
        ).fetchall()
    if len(rows) != 1:
        found = "several incidents have" if rows else "no incident has"
        raise UnknownIncidentError(
            f"{found} a fingerprint that begins with {prefix!r} in tenant {tenant_id}: "
            "`opsgraph incidents list` shows them"
        )
    return _incident(rows[0])


def list_incidents(
    connection: Connection, tenant_id: str | None, states: Sequence[IncidentState], limit: int
) -> list[Incident]:
    """Incidents, latest first.

    Args:
        connection: Open connection.
        tenant_id: Owner; None for all tenants (command line and Dagster only).
        states: States to list.
        limit: Rows at most.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select * from ops.incidents
            where (%(tenant)s::text is null or tenant_id = %(tenant)s) and state = any(%(states)s)
            order by started_at desc, fingerprint limit %(limit)s
            """,
            {"tenant": tenant_id, "states": [state.value for state in states], "limit": limit},
        ).fetchall()
    return [_incident(row) for row in rows]


def save_incident(connection: Connection, item: Incident) -> None:
    """Write an incident, new or changed; its plan and causes stay."""
    values = {
        **{name: getattr(item, name) for name in _PLAIN},
        "family": item.family.value,
        "affected": json.dumps({name: _affected_json(one) for name, one in item.affected.items()}),
        "operations": sorted(item.operations),
    }
    connection.execute(
        """
        insert into ops.incidents (
            tenant_id, fingerprint, cause_key, family, state, severity, subject, started_at, detected_at,
            last_at, acknowledged_at, acknowledged_by, resolved_at, merged_into, silenced_by, reopened,
            revision, affected, operations
        ) values (
            %(tenant_id)s, %(fingerprint)s, %(cause_key)s, %(family)s, %(state)s, %(severity)s, %(subject)s,
            %(started_at)s, %(detected_at)s, %(last_at)s, %(acknowledged_at)s, %(acknowledged_by)s,
            %(resolved_at)s, %(merged_into)s, %(silenced_by)s, %(reopened)s, %(revision)s, %(affected)s,
            %(operations)s
        )
        on conflict (tenant_id, fingerprint) do update set
            family = excluded.family, state = excluded.state, severity = excluded.severity,
            subject = excluded.subject, started_at = excluded.started_at,
            detected_at = excluded.detected_at, last_at = excluded.last_at,
            acknowledged_at = excluded.acknowledged_at, acknowledged_by = excluded.acknowledged_by,
            resolved_at = excluded.resolved_at, merged_into = excluded.merged_into,
            silenced_by = excluded.silenced_by, reopened = excluded.reopened, revision = excluded.revision,
            affected = excluded.affected, operations = excluded.operations
        """,
        values,
    )


@dataclass(frozen=True)
class Findings:
    """What was concluded about an incident, as JSON values.

    Attributes:
        suspects: Ranked subjects with reasons.
        causes: Ranked changes before it.
        plan: What to do; None before it was looked for.
    """

    suspects: list[dict[str, Any]]
    causes: list[dict[str, Any]]
    plan: dict[str, Any] | None


def findings_of(connection: Connection, item: Incident) -> Findings:
    """What was concluded about an incident so far."""
    row = connection.execute(
        "select suspects, causes, plan from ops.incidents where tenant_id = %s and fingerprint = %s",
        (item.tenant_id, item.fingerprint),
    ).fetchone()
    return Findings(*row) if row else Findings([], [], None)


def save_findings(connection: Connection, item: Incident, findings: Findings) -> None:
    """Keep what was concluded, and that the incident's present revision was told."""
    connection.execute(
        """
        update ops.incidents
        set suspects = %s, causes = %s, plan = %s, alerted_revision = %s
        where tenant_id = %s and fingerprint = %s
        """,
        (
            json.dumps(findings.suspects, default=str),
            json.dumps(findings.causes, default=str),
            json.dumps(findings.plan, default=str) if findings.plan else None,
            item.revision,
            item.tenant_id,
            item.fingerprint,
        ),
    )


def due_for_alert(connection: Connection, limit: int = 50) -> list[Incident]:
    """Incidents with a revision that nobody was told of, oldest first; silenced ones wait."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select * from ops.incidents where revision > alerted_revision and silenced_by is null
            order by detected_at, fingerprint limit %s
            """,
            (limit,),
        ).fetchall()
    return [_incident(row) for row in rows]


def without_plan(connection: Connection, limit: int = 50) -> list[Incident]:
    """Active incidents whose search for a runbook did not answer."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select * from ops.incidents
            where state in ('open', 'acknowledged') and plan ->> 'status' = 'waiting'
            order by detected_at limit %s
            """,
            (limit,),
        ).fetchall()
    return [_incident(row) for row in rows]


def record_event(
    connection: Connection,
    item: Incident,
    step: str,
    at: datetime,
    actor: str = "opsgraph",
    detail: dict[str, Any] | None = None,
) -> None:
    """Add one step to an incident's timeline."""
    connection.execute(
        """
        insert into ops.incident_events (tenant_id, fingerprint, step, at, actor, detail)
        values (%s, %s, %s, %s, %s, %s)
        """,
        (item.tenant_id, item.fingerprint, step, at, actor, json.dumps(detail or {}, default=str)),
    )


def timeline(connection: Connection, item: Incident) -> list[TimelineEvent]:
    """An incident's steps in the order in which they were recorded."""
    rows = connection.execute(
        """
        select step, at, actor, detail from ops.incident_events
        where tenant_id = %s and fingerprint = %s order by event_id
        """,
        (item.tenant_id, item.fingerprint),
    ).fetchall()
    return [TimelineEvent(*row) for row in rows]


def last_step(connection: Connection, item: Incident) -> str:
    """The latest step of an incident that was not the telling of it."""
    row = connection.execute(
        """
        select step from ops.incident_events
        where tenant_id = %s and fingerprint = %s and step not in ('alerted', 'updated', 'feedback')
        order by event_id desc limit 1
        """,
        (item.tenant_id, item.fingerprint),
    ).fetchone()
    return str(row[0]) if row else "opened"


def known_topology(connection: Connection, tenant_id: str) -> Topology:
    """The tenant's calls between services."""
    return topology_of(
        connection.execute(
            "select caller, callee from ops.service_calls where tenant_id = %s", (tenant_id,)
        ).fetchall()
    )


def quiet_periods(connection: Connection, tenant_id: str, at: datetime) -> list[QuietPeriod]:
    """Silences and calendar entries that cover an instant."""
    rows = connection.execute(
        """
        select 'silence ' || silence_id, 'silence', subject_pattern, starts_at, ends_at, reason
        from ops.silences where tenant_id = %(tenant)s and starts_at <= %(at)s and ends_at > %(at)s
        union all
        select 'calendar ' || incident_id, kind, coalesce(equipment_id, '*'), starts_at, ends_at, reason
        from ops.incident_calendar where tenant_id = %(tenant)s and starts_at <= %(at)s and ends_at > %(at)s
        """,
        {"tenant": tenant_id, "at": at},
    ).fetchall()
    return [QuietPeriod(*row) for row in rows]


_PLAIN = (
    "tenant_id", "fingerprint", "cause_key", "state", "severity", "subject", "started_at", "detected_at",
    "last_at", "acknowledged_at", "acknowledged_by", "resolved_at", "merged_into", "silenced_by", "reopened",
    "revision",
)  # fmt: skip


def _incident(row: dict[str, Any]) -> Incident:
    values = {name: row[name] for name in _PLAIN}
    values["state"], values["severity"] = IncidentState(row["state"]), Severity(row["severity"])
    affected = cast(dict[str, dict[str, Any]], row["affected"])
    return Incident(
        **values,
        affected={name: _affected(one) for name, one in affected.items()},
        operations=frozenset(cast(list[str], row["operations"])),
    )


def _affected_json(one: Affected) -> dict[str, Any]:
    return {
        "first_at": one.first_at.isoformat(),
        "last_at": one.last_at.isoformat(),
        "peak_score": one.peak_score,
        "kinds": sorted(kind.value for kind in one.kinds),
        "signals": one.signals,
        "summary": one.summary,
    }


def _affected(value: dict[str, Any]) -> Affected:
    return Affected(
        first_at=datetime.fromisoformat(value["first_at"]),
        last_at=datetime.fromisoformat(value["last_at"]),
        peak_score=value["peak_score"],
        kinds=frozenset(SignalKind(kind) for kind in value["kinds"]),
        signals=value["signals"],
        summary=value["summary"],
    )
