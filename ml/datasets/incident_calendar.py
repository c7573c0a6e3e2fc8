"""The incident calendar: periods that baselines, drift references, labels and forecasts leave out.

Rows come from people and from what the plant already knows: work orders, confirmed anomalies. Avoid
excluding here: each reader leaves its own rows out.
"""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg.rows import class_row

KINDS = ("maintenance", "outage", "anomaly", "recall", "sensor_fault", "holiday")


class CalendarFormatError(ValueError):
    """A row of the calendar can't be read; the message says which and why."""


@dataclass(frozen=True)
class Incident:
    """One period.

    Attributes:
        incident_id: Identifier; the same period of the same machine and kind has the same.
        tenant_id: Owner.
        equipment_id: Machine; None for the whole plant.
        kind: One of `KINDS`.
        starts_at: First instant.
        ends_at: First instant after it.
        known_at: Since when it is known.
        reason: In words.
        source: Who or what said so.
    """

    incident_id: str
    tenant_id: str
    equipment_id: str | None
    kind: str
    starts_at: datetime
    ends_at: datetime
    known_at: datetime
    reason: str
    source: str


def incident(
    tenant_id: str,
    equipment_id: str | None,
    kind: str,
    starts_at: datetime,
    ends_at: datetime,
    known_at: datetime,
    reason: str,
    source: str,
) -> Incident:
    """Build one row.

    Raises:
        CalendarFormatError: An unknown kind, a period that ends before it starts, or a naive instant.
    """
    if kind not in KINDS:
        raise CalendarFormatError(f"kind {kind!r} is unknown; it is one of {', '.join(KINDS)}")
    if ends_at <= starts_at:
        raise CalendarFormatError(f"the period ends at {ends_at:%Y-%m-%d %H:%M}, not after it starts")
    key = "|".join([tenant_id, equipment_id or "", kind, starts_at.isoformat(), ends_at.isoformat()])
    identifier = hashlib.sha256(key.encode()).hexdigest()[:16]
    return Incident(identifier, tenant_id, equipment_id, kind, starts_at, ends_at, known_at, reason, source)


def read_csv(path: Path, tenant_id: str, known_at: datetime) -> list[Incident]:
    """Read `equipment_id,kind,starts_at,ends_at,reason` rows; nothing is kept of a file with a bad row.

    Args:
        path: CSV file with these column names; an empty `equipment_id` means the whole plant.
        tenant_id: Owner of all rows.
        known_at: Since when they are known, where a row has no `known_at` of its own.

    Raises:
        CalendarFormatError: A row can't be read.
    """
    found: list[Incident] = []
    with path.open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                found.append(
                    incident(
                        tenant_id,
                        row.get("equipment_id") or None,
                        row["kind"],
                        instant(row["starts_at"]),
                        instant(row["ends_at"]),
                        instant(row["known_at"]) if row.get("known_at") else known_at,
                        row.get("reason") or row["kind"],
                        f"file {path.name}",
                    )
                )
            except (KeyError, ValueError) as error:
                raise CalendarFormatError(f"{path}, line {number}: {error}. No row was imported.") from error
    return found


def instant(text: str) -> datetime:
    """An ISO 8601 instant; UTC where it names no zone."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=found.tzinfo or UTC)


def add(connection: psycopg.Connection, incidents: Iterable[Incident]) -> int:
    """Write rows; the same period again changes nothing. Returns how many are new."""
    new = 0
    for one in incidents:
        new += connection.execute(
            "insert into ops.incident_calendar (incident_id, tenant_id, equipment_id, kind, starts_at,"
            " ends_at, known_at, reason, source) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " on conflict (incident_id) do nothing",
            [getattr(one, part.name) for part in fields(one)],
        ).rowcount
    return new


def remove(connection: psycopg.Connection, incident_ids: Sequence[str]) -> int:
    """Take rows out; returns how many were there."""
    return connection.execute(
        "delete from ops.incident_calendar where incident_id = any(%s)", (list(incident_ids),)
    ).rowcount


def incidents(connection: psycopg.Connection, tenant_id: str | None = None) -> list[Incident]:
    """Rows of one tenant or of all, newest first."""
    with connection.cursor(row_factory=class_row(Incident)) as cursor:
        return cursor.execute(
            "select incident_id, tenant_id, equipment_id, kind, starts_at, ends_at, known_at, reason, source"
            " from ops.incident_calendar where %(tenant)s::text is null or tenant_id = %(tenant)s"
            " order by starts_at desc, incident_id",
            {"tenant": tenant_id},
        ).fetchall()


def from_plant(connection: psycopg.Connection, tenant_id: str) -> list[Incident]:
    """Outages that work orders tell: the downtime after each failure, known when the order was."""
    rows = connection.execute(
        "select equipment_id, event_at, event_at + make_interval(secs => max(downtime_h) * 3600),"
        " max(known_at) from raw.maintenance_events"
        " where tenant_id = %s and event_type = 'failure' and downtime_h > 0"
        " group by equipment_id, event_at",
        (tenant_id,),
    ).fetchall()
    return [
        incident(tenant_id, machine, "outage", starts, ends, known, "down after a failure", "work orders")
        for machine, starts, ends, known in rows
    ]
