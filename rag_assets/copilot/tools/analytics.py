"""The `analytics` tool: machines, their health, and their events, from the marts.

Add a query here when it reads marts. Avoid predictions (`predictions.py`) and writing of any kind.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from rag_assets.copilot.results import TableSource, ToolResult, ToolStatus, Window
from rag_assets.copilot.tools.database import NotBuiltError, TenantDatabase

TOOL = "analytics"


class Analysis(Enum):
    """What to look at."""

    FLEET = "fleet"
    HEALTH = "health"
    EVENTS = "events"


@dataclass(frozen=True)
class AnalyticsRequest:
    """Which rows to read.

    Attributes:
        analysis: What to look at.
        tenant_id: Whose machines.
        equipment_id: One machine; None means all.
        days: Length of the window of EVENTS, ending at the plant's own clock.
    """

    analysis: Analysis
    tenant_id: str
    equipment_id: str | None = None
    days: int = 30


_TABLES = {
    Analysis.FLEET: "marts.dim_equipment",
    Analysis.HEALTH: "marts.mart_equipment_health",
    Analysis.EVENTS: "marts.fact_equipment_events",
}

_QUERIES = {
    Analysis.FLEET: """
        select equipment_id, equipment_name, plant_id, equipment_model, firmware_version
        from marts.dim_equipment
        where tenant_id = %(tenant_id)s
          and (%(equipment_id)s::text is null or equipment_id = %(equipment_id)s)
        order by equipment_id
    """,
    Analysis.HEALTH: """
        select equipment_id, equipment_name, plant_id, health_status, last_reading_time,
            reading_count_24h, avg_metrics_24h, predicted_failure_prob, predicted_failure_prob_7d,
            window_end_at
        from marts.mart_equipment_health
        where tenant_id = %(tenant_id)s
          and (%(equipment_id)s::text is null or equipment_id = %(equipment_id)s)
        order by predicted_failure_prob desc nulls last, equipment_id
        limit 5
    """,
    Analysis.EVENTS: """
        with plant as (
            select max(window_end_at) as window_end_at
            from marts.mart_equipment_health
            where tenant_id = %(tenant_id)s
        )
        select event.event_type, event.code, count(*) as event_count, max(event.event_at) as last_event_at,
            count(distinct event.equipment_id) as machine_count,
            max(plant.window_end_at) - make_interval(days => %(days)s) as window_start_at,
            max(plant.window_end_at) as window_end_at
        from marts.fact_equipment_events as event
        cross join plant
        where event.tenant_id = %(tenant_id)s
          and (%(equipment_id)s::text is null or event.equipment_id = %(equipment_id)s)
          and event.event_type <> 'registration'
          and event.event_at > plant.window_end_at - make_interval(days => %(days)s)
          and event.event_at <= plant.window_end_at
        group by event.event_type, event.code
        order by event_count desc, last_event_at desc, event.event_type, event.code
        limit 12
    """,
}


def analyse(database: TenantDatabase, request: AnalyticsRequest) -> ToolResult:
    """Read the rows of a request; no row is NO_DATA."""
    table, query = _TABLES[request.analysis], _QUERIES[request.analysis]
    parameters: dict[str, Any] = {**asdict(request), "analysis": request.analysis.value}
    try:
        rows = database.rows(query, request.tenant_id, equipment_id=request.equipment_id, days=request.days)
    except NotBuiltError as error:
        missing = f"{table} does not exist yet ({error}): build the warehouse first"
        return ToolResult(TOOL, ToolStatus.NO_DATA, query, parameters, missing=missing)
    if not rows:
        return ToolResult(TOOL, ToolStatus.NO_DATA, query, parameters, missing=_nothing(table, request))
    as_of: datetime | None = rows[0].get("window_end_at")
    window = None
    if request.analysis is Analysis.EVENTS and as_of:
        window = Window(as_of - timedelta(days=request.days), as_of)
    source = TableSource(table, as_of, tuple(rows))
    return ToolResult(TOOL, ToolStatus.SUCCESS, query, parameters, (source,), window)


def _nothing(table: str, request: AnalyticsRequest) -> str:
    whose = request.equipment_id or f"tenant {request.tenant_id}"
    when = f" in the last {request.days} days" if request.analysis is Analysis.EVENTS else ""
    return f"{table} has no row for {whose}{when}"
