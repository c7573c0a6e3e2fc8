"""The `ml` tool: what the models wrote: failure risk, anomalies, quality and the maintenance schedule.

Add a query here when it reads what models wrote. Avoid running models, and forecasts (`forecast.py`).
"""

from dataclasses import dataclass
from datetime import datetime

from rag_assets.copilot.periods import Period
from rag_assets.copilot.results import ToolResult
from rag_assets.copilot.tools.database import TenantDatabase
from rag_assets.copilot.tools.reading import TableQuery, latest, read_table

TOOL = "ml"
FAILURES = "ml.failure_predictions"
HEALTH = "marts.mart_equipment_health"
ANOMALIES = "ml.anomaly_events"
QUALITY = "ml.quality_predictions"
SCHEDULE = "marts.mart_predictive_maintenance"


@dataclass(frozen=True)
class PredictionRequest:
    """Which predictions to read.

    Attributes:
        tenant_id: Whose machines.
        horizon_hours: 24 or 168.
        equipment_id: One machine; None ranks the fleet.
        limit: Machines to return.
        known_by: Only predictions as of this instant or before; None means the latest.
    """

    tenant_id: str
    horizon_hours: int = 24
    equipment_id: str | None = None
    limit: int = 3
    known_by: datetime | None = None


_LATEST = """
    with latest as (
        select distinct on (equipment_id)
            equipment_id, horizon_hours, failure_probability, risk_level, is_alert, recommended_action,
            contributing_factors, model_name, model_version, as_of
        from ml.failure_predictions
        where tenant_id = %(tenant_id)s and horizon_hours = %(horizon_hours)s
          and (%(equipment_id)s::text is null or equipment_id = %(equipment_id)s)
          and (%(known_by)s::timestamptz is null or as_of <= %(known_by)s)
        order by equipment_id, as_of desc, predicted_at desc
    )
    select latest.*, stopped.failed_at, count(*) over () as machine_count
    from latest
    left join lateral (
        select max(happening.event_at) as failed_at
        from marts.mart_equipment_health as health
        inner join marts.fact_equipment_events as happening
            on happening.tenant_id = health.tenant_id and happening.equipment_id = health.equipment_id
        where health.tenant_id = %(tenant_id)s and health.equipment_id = latest.equipment_id
          and happening.event_type = 'failure' and happening.event_at > health.last_reading_time
          -- Health is that of now: it says nothing of an earlier instant.
          and %(known_by)s::timestamptz is null
    ) as stopped on true
    order by stopped.failed_at is not null, failure_probability desc, equipment_id
    limit %(limit)s
"""

_STOPPED = """
    select health.equipment_id, max(happening.event_at) as failed_at,
        string_agg(distinct happening.code, ', ') as component, health.last_reading_time,
        health.window_end_at, count(*) over () as machine_count
    from marts.mart_equipment_health as health
    inner join marts.fact_equipment_events as happening
        on happening.tenant_id = health.tenant_id and happening.equipment_id = health.equipment_id
    where health.tenant_id = %(tenant_id)s
      and (%(equipment_id)s::text is null or health.equipment_id = %(equipment_id)s)
      and happening.event_type = 'failure' and happening.event_at > health.last_reading_time
    group by health.equipment_id, health.last_reading_time, health.window_end_at
    order by failed_at desc, health.equipment_id
    limit 5
"""

_ANOMALIES = """
    select equipment_id, metric_set, starts_at, ends_at, peak_at, peak_score, contributing_sensors, summary,
        model_version, count(*) over () as anomaly_count
    from ml.anomaly_events
    where tenant_id = %(tenant_id)s
      and (%(equipment_id)s::text is null or equipment_id = %(equipment_id)s)
      and starts_at <= %(ends_at)s and (ends_at is null or ends_at > %(starts_at)s)
    order by peak_score desc, starts_at desc
    limit 5
"""

_SCHEDULE = """
    select equipment_id, equipment_name, risk_level, failure_probability_24h, failure_probability_7d,
        recommended_action, days_since_last_maintenance, last_maintenance_at, failure_count, error_count_7d,
        is_scored, window_end_at
    from marts.mart_predictive_maintenance
    where tenant_id = %(tenant_id)s
      and (%(equipment_id)s::text is null or equipment_id = %(equipment_id)s)
    order by failure_probability_24h desc nulls last, days_since_last_maintenance desc nulls last,
        equipment_id
    limit 5
"""

_QUALITY = """
    select prediction.*
    from ml.quality_predictions as prediction
    where tenant_id = %(tenant_id)s
      and (%(equipment_id)s::text is null or equipment_id = %(equipment_id)s)
    order by known_at desc
    limit 5
"""


def latest_predictions(database: TenantDatabase, request: PredictionRequest) -> ToolResult:
    """The latest failure prediction of each machine, highest probability first.

    A machine that has failed and not reported since comes after all that still run: its prediction is of
    before, and `failed_at` says so.
    """
    whose = request.equipment_id or f"tenant {request.tenant_id}"
    query = TableQuery(
        tool=TOOL,
        table=FAILURES,
        sql=_LATEST,
        parameters={
            "horizon_hours": request.horizon_hours,
            "equipment_id": request.equipment_id,
            "limit": request.limit,
            "known_by": request.known_by,
        },
        nothing=f"no {request.horizon_hours} h failure prediction for {whose}: run `prediction/failure`",
        as_of=latest("as_of"),
        limits=f"the {request.limit} machines with the highest probability",
    )
    return read_table(database, request.tenant_id, query)


def stopped_machines(
    database: TenantDatabase, tenant_id: str, equipment_id: str | None = None
) -> dict[str, ToolResult]:
    """Machines whose last failure is younger than their last reading: they have not reported since.

    Returns:
        The result by its purpose; empty where every machine reports, which needs no mention.
    """
    query = TableQuery(
        tool=TOOL,
        table=HEALTH,
        sql=_STOPPED,
        parameters={"equipment_id": equipment_id},
        nothing=f"{equipment_id or 'every machine'} has reported since its last failure",
        as_of=latest("window_end_at"),
        limits="the 5 that failed last",
    )
    result = read_table(database, tenant_id, query)
    return {"stopped": result} if result.rows else {}


def anomalies(
    database: TenantDatabase, tenant_id: str, period: Period, equipment_id: str | None = None
) -> ToolResult:
    """Anomalies that touch a period, the strongest first."""
    whose = equipment_id or f"tenant {tenant_id}"
    query = TableQuery(
        tool=TOOL,
        table=ANOMALIES,
        sql=_ANOMALIES,
        parameters={"equipment_id": equipment_id, "starts_at": period.starts_at, "ends_at": period.ends_at},
        nothing=f"no anomaly of {whose} in this period",
        period=period,
        limits="the 5 strongest",
    )
    return read_table(database, tenant_id, query)


def maintenance_schedule(
    database: TenantDatabase, tenant_id: str, equipment_id: str | None = None
) -> ToolResult:
    """Which machine to maintain first: risk, then time since the last maintenance."""
    query = TableQuery(
        tool=TOOL,
        table=SCHEDULE,
        sql=_SCHEDULE,
        parameters={"equipment_id": equipment_id},
        nothing=f"{SCHEDULE} has no row for {equipment_id or f'tenant {tenant_id}'}",
        as_of=latest("window_end_at"),
        limits="the 5 most urgent machines",
    )
    return read_table(database, tenant_id, query)


def quality_predictions(
    database: TenantDatabase, tenant_id: str, equipment_id: str | None = None
) -> ToolResult:
    """The latest predicted quality classes."""
    query = TableQuery(
        tool=TOOL,
        table=QUALITY,
        sql=_QUALITY,
        parameters={"equipment_id": equipment_id},
        nothing=f"no quality prediction for {equipment_id or f'tenant {tenant_id}'}",
        as_of=latest("known_at"),
        limits="the 5 latest",
    )
    return read_table(database, tenant_id, query)
