"""The `analytics` tool's root-cause candidates: which machine, code or product made a figure change.

A contribution is arithmetic (a part's change per total change), not proof of a cause; answers say so.
Add a dimension to `DIMENSIONS`. Avoid sensors: their deviations are events of the anomaly model.
"""

from dataclasses import dataclass
from typing import Any

from rag_assets.copilot.periods import Period
from rag_assets.copilot.results import ToolResult
from rag_assets.copilot.tools.database import TenantDatabase
from rag_assets.copilot.tools.reading import TableQuery, read_table

TOOL = "analytics"


@dataclass(frozen=True)
class Dimension:
    """One way to split a figure into parts.

    Attributes:
        name: As answers write it.
        table: Where it is read.
        part_sql: Column or expression that names the part.
        amount_sql: Aggregate of a part; `@` stands for the period's filter.
        condition: Which rows count.
    """

    name: str
    table: str
    part_sql: str
    amount_sql: str
    condition: str = "true"


_EVENTS = "marts.fact_equipment_events"
_QUALITY = "marts.fact_quality_inspections"
_DOWNTIME = "coalesce(sum(downtime_h)@, 0)"
_DEFECTS = "coalesce(sum(defect_count)@, 0)"

DIMENSIONS: dict[str, tuple[Dimension, ...]] = {
    "downtime_h": (
        Dimension("component", _EVENTS, "coalesce(code, event_type)", _DOWNTIME, "downtime_h > 0"),
        Dimension("machine", _EVENTS, "fact.equipment_id", _DOWNTIME, "downtime_h > 0"),
    ),
    "failure_count": (
        Dimension("component", _EVENTS, "code", "count(*)@", "event_type = 'failure'"),
        Dimension("machine", _EVENTS, "fact.equipment_id", "count(*)@", "event_type = 'failure'"),
    ),
    "error_count": (
        Dimension("error code", _EVENTS, "code", "count(*)@", "event_type = 'error'"),
        Dimension("machine", _EVENTS, "fact.equipment_id", "count(*)@", "event_type = 'error'"),
    ),
    "defect_rate": (
        Dimension("defect type", _QUALITY, "defect_type", _DEFECTS, "defect_type is not null"),
        Dimension("product", _QUALITY, "product_code", _DEFECTS),
        Dimension("material", _QUALITY, "material_grade", _DEFECTS),
        Dimension("machine", _QUALITY, "fact.equipment_id", _DEFECTS),
    ),
}
"""Of each measure that can be split."""

_SPLITTABLE = {"uptime": "downtime_h", "oee": "downtime_h", "produced_units": "downtime_h"}


def dimensions_of(measure: str) -> tuple[Dimension, ...]:
    """How a measure can be split; what can't be added up is explained by the downtime behind it."""
    return DIMENSIONS.get(_SPLITTABLE.get(measure, measure), ())


def contributions(
    database: TenantDatabase,
    tenant_id: str,
    dimension: Dimension,
    period: Period,
    equipment_ids: tuple[str, ...] = (),
) -> ToolResult:
    """Parts of a figure, the largest first, with their change and their share of it.

    Args:
        database: Read-only rows.
        tenant_id: Whose machines.
        dimension: How to split.
        period: When; the equally long period before it is what the change is against.
        equipment_ids: Which machines; empty means all.
    """
    parameters: dict[str, Any] = {
        "starts_at": period.starts_at,
        "ends_at": period.ends_at,
        "previous_starts_at": period.previous_starts_at,
        "equipment_ids": list(equipment_ids) or None,
        "dimension": dimension.name,
    }
    query = TableQuery(
        tool=TOOL,
        table=dimension.table,
        sql=_query(dimension),
        parameters=parameters,
        nothing=f"{dimension.table} has nothing to split by {dimension.name} in this period",
        period=period,
        limits="the 8 largest parts",
    )
    return read_table(database, tenant_id, query)


def _query(dimension: Dimension) -> str:
    current, previous = (
        dimension.amount_sql.replace("@", f" filter (where {condition})")
        for condition in ("event_at > %(starts_at)s", "event_at <= %(starts_at)s")
    )
    return f"""
        with parts as (
            select {dimension.part_sql} as part,
                ({current})::double precision as amount, ({previous})::double precision as previous_amount
            from {dimension.table} as fact
            where fact.tenant_id = %(tenant_id)s
              and event_at > %(previous_starts_at)s and event_at <= %(ends_at)s
              and (%(equipment_ids)s::text[] is null or fact.equipment_id = any(%(equipment_ids)s))
              and {dimension.condition}
            group by 1
        )
        select %(dimension)s::text as dimension,
            array_to_string(%(equipment_ids)s::text[], ', ') as scope, part, amount, previous_amount,
            amount - previous_amount as change,
            100 * amount / nullif(sum(amount) over (), 0) as share_percent,
            %(starts_at)s::timestamptz as window_start_at, %(ends_at)s::timestamptz as window_end_at
        from parts
        where part is not null and (amount <> 0 or previous_amount <> 0)
        order by amount desc, change desc, part
        limit 8
    """  # noqa: S608 - constants of this module
