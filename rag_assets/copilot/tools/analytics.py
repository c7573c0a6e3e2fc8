"""The `analytics` tool's lists: machines, their health, and their events, from the marts.

Add a query here when it lists rows of marts. Avoid figures over periods (`trends.py`) and predictions.
"""

from typing import Any

from rag_assets.copilot.periods import Period
from rag_assets.copilot.results import ToolResult
from rag_assets.copilot.tools.database import TenantDatabase
from rag_assets.copilot.tools.reading import TableQuery, latest, read_table

TOOL = "analytics"

_FLEET = """
    select machine.equipment_id, machine.equipment_name, machine.plant_id, machine.equipment_model,
        machine.firmware_version, clock.window_end_at
    from marts.dim_equipment as machine
    cross join (
        select max(window_end_at) as window_end_at
        from marts.mart_equipment_health
        where tenant_id = %(tenant_id)s
    ) as clock
    where machine.tenant_id = %(tenant_id)s
    order by machine.equipment_id
"""

_HEALTH = """
    select equipment_id, equipment_name, plant_id, health_status, is_scored, last_reading_time,
        reading_count_24h, avg_metrics_24h, predicted_failure_prob, predicted_failure_prob_7d,
        window_end_at
    from marts.mart_equipment_health
    where tenant_id = %(tenant_id)s
      and (%(equipment_id)s::text is null or equipment_id = %(equipment_id)s)
    order by predicted_failure_prob desc nulls last, equipment_id
    limit 5
"""

_UNSCORED = """
    select count(*) as machine_count,
        count(*) filter (where is_scored) as scored_count,
        count(*) filter (where not is_scored) as unscored_count,
        array_agg(equipment_id order by equipment_id) filter (where not is_scored) as unscored_machines,
        max(window_end_at) as window_end_at
    from marts.mart_equipment_health
    where tenant_id = %(tenant_id)s
"""

_EVENTS = """
    select event_type, code, count(*) as event_count, max(event_at) as last_event_at,
        count(distinct equipment_id) as machine_count,
        sum(count(*)) over () as total_count, %(equipment_id)s::text as equipment_id,
        %(starts_at)s::timestamptz as window_start_at, %(ends_at)s::timestamptz as window_end_at
    from marts.fact_equipment_events
    where tenant_id = %(tenant_id)s
      and (%(equipment_id)s::text is null or equipment_id = %(equipment_id)s)
      and (%(event_types)s::text[] is null or event_type = any(%(event_types)s))
      and (%(codes)s::text[] is null or upper(code) = any(%(codes)s))
      and event_type <> 'registration'
      and event_at > %(starts_at)s and event_at <= %(ends_at)s
    group by event_type, code
    order by event_count desc, last_event_at desc, event_type, code
    limit 12
"""


def fleet(database: TenantDatabase, tenant_id: str) -> ToolResult:
    """All machines of a tenant, with the plant's clock in `window_end_at`."""
    nothing = f"marts.dim_equipment has no row for tenant {tenant_id}"
    as_of = latest("window_end_at")
    query = TableQuery(TOOL, "marts.dim_equipment", _FLEET, {}, nothing, as_of=as_of)
    return read_table(database, tenant_id, query)


def health(database: TenantDatabase, tenant_id: str, equipment_id: str | None = None) -> ToolResult:
    """State of one machine, or of the five that are most at risk."""
    whose = equipment_id or f"tenant {tenant_id}"
    query = TableQuery(
        tool=TOOL,
        table="marts.mart_equipment_health",
        sql=_HEALTH,
        parameters={"equipment_id": equipment_id},
        nothing=f"marts.mart_equipment_health has no row for {whose}",
        as_of=latest("window_end_at"),
        limits="the 5 machines with the highest probability",
    )
    return read_table(database, tenant_id, query)


def scored_machines(database: TenantDatabase, tenant_id: str) -> ToolResult:
    """How many machines have a prediction, and which have none: those are not 'fine', they are unknown."""
    query = TableQuery(
        tool=TOOL,
        table="marts.mart_equipment_health",
        sql=_UNSCORED,
        parameters={},
        nothing=f"marts.mart_equipment_health has no row for tenant {tenant_id}",
        as_of=latest("window_end_at"),
        keep=lambda row: bool(row["machine_count"]),
    )
    return read_table(database, tenant_id, query)


def events(
    database: TenantDatabase,
    tenant_id: str,
    period: Period,
    equipment_id: str | None = None,
    event_types: tuple[str, ...] = (),
    codes: tuple[str, ...] = (),
) -> ToolResult:
    """Events of a period, counted by type and code.

    Args:
        database: Read-only rows.
        tenant_id: Whose machines.
        period: When.
        equipment_id: One machine; None means all.
        event_types: Only these (`error`, `failure`, …); empty means all.
        codes: Only these codes or components, in upper case; empty means all.
    """
    parameters: dict[str, Any] = {
        "equipment_id": equipment_id,
        "event_types": list(event_types) or None,
        "codes": list(codes) or None,
        "starts_at": period.starts_at,
        "ends_at": period.ends_at,
    }
    whose = equipment_id or f"tenant {tenant_id}"
    what = " ".join((*codes, *event_types)) or "event"
    nothing = (
        f"marts.fact_equipment_events has no {what} of {whose} "
        f"from {period.starts_at:%Y-%m-%d %H:%M} to {period.ends_at:%Y-%m-%d %H:%M} UTC"
    )
    query = TableQuery(
        TOOL, "marts.fact_equipment_events", _EVENTS, parameters, nothing, period, "the 12 most frequent"
    )
    return read_table(database, tenant_id, query)
