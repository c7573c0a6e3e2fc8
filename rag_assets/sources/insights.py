"""A document per machine, written from the marts: this week's readings and events beside the week before.

Numbers are those of SQL, on the plant clock; equal data give equal text, so that an unchanged machine is
neither embedded nor indexed again. Avoid judging causes here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from rag_assets.documents import Collection as DocumentCollection
from rag_assets.documents import Document

SOURCE = "telemetry-insights"
_LEAST_CHANGE = 0.05  # below 5 % a week's mean moves by itself

_MACHINES = """
    select d.tenant_id, d.equipment_id, d.equipment_name, d.equipment_model, d.plant_id, c.plant_now_at
    from marts.dim_equipment d join ops.plant_clock c using (tenant_id) order by 1, 2
"""
_READINGS = """
    select tenant_id, equipment_id, hour_at >= %(since)s as is_this_week, {means}
    from intermediate.int_equipment_metrics_hourly
    where tenant_id = %(tenant)s and hour_at > %(before)s and hour_at <= %(now)s group by 1, 2, 3
"""
_EVENTS = """
    select equipment_id, event_type, coalesce(nullif(code, ''), '-') as code, count(*) as times,
           max(event_at) as last_at
    from marts.fact_equipment_events
    where tenant_id = %(tenant)s and event_at > %(since)s and event_at <= %(now)s
    group by 1, 2, 3 order by 1, 2, 3
"""


@dataclass(frozen=True)
class _Machine:
    tenant_id: str
    equipment_id: str
    equipment_name: str | None
    equipment_model: str | None
    plant_id: str | None
    plant_now_at: datetime


def insight_documents(connection: psycopg.Connection[Any]) -> DocumentCollection:
    """An insight per machine of every tenant; empty while the marts are not there.

    Args:
        connection: May read the marts.
    """
    if not _has_marts(connection):
        return DocumentCollection(())
    machines = [_Machine(*row) for row in connection.execute(_MACHINES).fetchall()]
    documents: list[Document] = []
    for tenant_id in dict.fromkeys(machine.tenant_id for machine in machines):
        own = [machine for machine in machines if machine.tenant_id == tenant_id]
        documents.extend(_of_tenant(connection, tenant_id, own))
    return DocumentCollection(tuple(documents))


def _of_tenant(
    connection: psycopg.Connection[Any], tenant_id: str, machines: Sequence[_Machine]
) -> list[Document]:
    now = machines[0].plant_now_at
    times = connection.execute(
        "select %(now)s - interval '7 days' as since, %(now)s - interval '14 days' as before", {"now": now}
    ).fetchone()
    assert times is not None  # a select without a table always gives a row
    window = {"tenant": tenant_id, "now": now, "since": times[0], "before": times[1]}
    metrics = _metrics(connection)
    means = ", ".join(f"avg({column}) as {metric}" for metric, column in metrics.items())
    readings: dict[str, dict[bool, dict[str, Any]]] = {}
    events: dict[str, list[dict[str, Any]]] = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_READINGS.format(means=means).encode(), window) if metrics else ():
            readings.setdefault(row["equipment_id"], {})[row["is_this_week"]] = row
        for row in cursor.execute(_EVENTS, window):
            events.setdefault(row["equipment_id"], []).append(row)
    return [
        _document(
            machine, readings.get(machine.equipment_id, {}), events.get(machine.equipment_id, []), window
        )
        for machine in machines
    ]


def _document(
    machine: _Machine,
    weeks: dict[bool, dict[str, Any]],
    events: Sequence[dict[str, Any]],
    window: dict[str, Any],
) -> Document:
    since, now = window["since"].date(), window["now"].date()
    title = f"What changed on {machine.equipment_id} in the week to {now}"
    lines = [f"# {title}", "", "## Summary", "", _summary(machine, weeks, events), ""]
    pairs = _pairs(weeks)
    if pairs:
        lines += ["## Readings", "", f"Means of hourly means, {since} to {now}.", ""]
        lines += ["| metric | this week | week before | change |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {name} | {_number(value)} | {_number(old)} | {_change(value, old)} |"
            for name, value, old in pairs
        ]
        lines.append("")
    if events:
        lines += ["## Events", "", "| event | code | times | last |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {row['event_type']} | {row['code']} | {row['times']} | {row['last_at']:%Y-%m-%d %H:%M} |"
            for row in events
        ]
    content = "\n".join(lines).strip()
    return Document(
        tenant_id=machine.tenant_id,
        document_id=f"insight-{machine.equipment_id.lower()}",
        version=str(now),
        title=title,
        path=f"insights/{machine.equipment_id}.md",
        md5=hashlib.md5(content.encode(), usedforsecurity=False).hexdigest(),
        content=content,
        effective_on=now,
        kind="insight",
        tags=(machine.equipment_id, *([machine.plant_id] if machine.plant_id else [])),
    )


def _summary(machine: _Machine, weeks: dict[bool, dict[str, Any]], events: Sequence[dict[str, Any]]) -> str:
    name = f"{machine.equipment_id} ({machine.equipment_model or 'model unknown'})"
    counts = {kind: sum(row["times"] for row in events if row["event_type"] == kind) for kind in
              dict.fromkeys(row["event_type"] for row in events)}  # fmt: skip
    happened = ", ".join(f"{count} × {kind}" for kind, count in counts.items()) or "no event"
    return f"{name}: {_movement(weeks)}; {happened}."


def _movement(weeks: dict[bool, dict[str, Any]]) -> str:
    """What the readings did. A silent machine has no news, which is not good news."""
    pairs, silent = _pairs(weeks), _silent(weeks)
    if not pairs:
        return "no readings this week" + (", though there were some the week before" if silent else "")
    if not any(old is not None for _, _, old in pairs):
        return "nothing to compare with: no readings the week before"
    moved = [
        f"{metric} {_change(value, old)}"
        for metric, value, old in pairs
        if value is not None and old and abs(value / old - 1) >= _LEAST_CHANGE
    ]
    moved += [f"no {metric} this week" for metric in silent]
    return ", ".join(moved) or "no metric's mean moved by 5 % or more"


def _silent(weeks: dict[bool, dict[str, Any]]) -> list[str]:
    """Metrics of the week before that this week lacks."""
    this, before = weeks.get(True, {}), weeks.get(False, {})
    return [name for name in _metric_names(before) if before[name] is not None and this.get(name) is None]


def _pairs(weeks: dict[bool, dict[str, Any]]) -> list[tuple[str, float | None, float | None]]:
    this, before = weeks.get(True, {}), weeks.get(False, {})
    return [(name, this[name], before.get(name)) for name in _metric_names(this) if this[name] is not None]


def _metric_names(week: dict[str, Any]) -> list[str]:
    return [name for name in week if name not in ("tenant_id", "equipment_id", "is_this_week")]


def _change(value: float | None, old: float | None) -> str:
    return f"{value / old - 1:+.1%}" if value is not None and old else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _metrics(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Metric → its column of hourly means; a plant's own metrics are whatever columns there are."""
    rows = connection.execute(
        "select column_name from information_schema.columns where table_schema = 'intermediate' "
        "and table_name = 'int_equipment_metrics_hourly' and column_name like '%\\_mean' order by 1"
    ).fetchall()
    return {row[0].removesuffix("_mean"): row[0] for row in rows}


def _has_marts(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(
        "select to_regclass('marts.dim_equipment') is not null "
        "and to_regclass('intermediate.int_equipment_metrics_hourly') is not null "
        "and to_regclass('marts.fact_equipment_events') is not null"
    ).fetchone()
    return bool(row and row[0])
