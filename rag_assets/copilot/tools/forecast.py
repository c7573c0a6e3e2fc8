"""The `forecast` tool: forecast values and threshold crossings that the forecast models wrote.

Avoid computing forecasts: `POST /v1/forecast` and the forecast assets do.
"""

from rag_assets.copilot.results import ToolResult
from rag_assets.copilot.tools.database import TenantDatabase
from rag_assets.copilot.tools.reading import TableQuery, latest, read_table

TOOL = "forecast"
FORECASTS = "ml.forecasts"
VIOLATIONS = "ml.forecast_violations"

_VALUES = """
    with issued as (
        select max(as_of) as as_of
        from ml.forecasts
        where tenant_id = %(tenant_id)s and subject_id = %(subject_id)s and metric = any(%(metrics)s)
    )
    select value.subject_id, value.metric, value.as_of, value.forecast_at, value.value, value.lower,
        value.upper, value.method, value.model_version,
        max(value.value) over (partition by value.metric) as highest_value,
        min(value.value) over (partition by value.metric) as lowest_value
    from ml.forecasts as value
    inner join issued on value.as_of = issued.as_of
    where value.tenant_id = %(tenant_id)s and value.subject_id = %(subject_id)s
      and value.metric = any(%(metrics)s)
      and value.forecast_at <= issued.as_of + make_interval(hours => %(horizon_hours)s)
    order by value.metric, value.forecast_at
    limit 200
"""

_VIOLATIONS = """
    select violation.*
    from ml.forecast_violations as violation
    where tenant_id = %(tenant_id)s
      and (%(subject_id)s::text is null or subject_id = %(subject_id)s)
      and (%(metrics)s::text[] is null or metric = any(%(metrics)s))
      and as_of = (select max(as_of) from ml.forecast_violations where tenant_id = %(tenant_id)s)
    order by forecast_at
    limit 10
"""


def forecast_values(
    database: TenantDatabase, tenant_id: str, subject_id: str, metrics: tuple[str, ...], horizon_hours: int
) -> ToolResult:
    """The latest forecast of a machine or plant.

    Args:
        database: Read-only rows.
        tenant_id: Whose.
        subject_id: Machine or plant.
        metrics: Names as the models write them.
        horizon_hours: How far ahead.
    """
    query = TableQuery(
        tool=TOOL,
        table=FORECASTS,
        sql=_VALUES,
        parameters={"subject_id": subject_id, "metrics": list(metrics), "horizon_hours": horizon_hours},
        nothing=f"no forecast of {' or '.join(metrics)} for {subject_id}: run the forecast assets",
        as_of=latest("as_of"),
        limits="at most 200 steps",
    )
    return read_table(database, tenant_id, query)


def forecast_violations(
    database: TenantDatabase, tenant_id: str, subject_id: str | None = None, metrics: tuple[str, ...] = ()
) -> ToolResult:
    """Thresholds that the latest forecast crosses."""
    query = TableQuery(
        tool=TOOL,
        table=VIOLATIONS,
        sql=_VIOLATIONS,
        parameters={"subject_id": subject_id, "metrics": list(metrics) or None},
        nothing=f"no forecast threshold crossing for {subject_id or f'tenant {tenant_id}'}",
        as_of=latest("as_of"),
        limits="the 10 earliest",
    )
    return read_table(database, tenant_id, query)
