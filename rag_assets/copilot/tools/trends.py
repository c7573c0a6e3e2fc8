"""The `analytics` tool's figures: measures over a period, the period before it, and the change.

Every difference is computed in SQL, so that whatever an answer says stands in a row that it cites.
Avoid choosing what to say here.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from rag_assets.copilot.periods import Period
from rag_assets.copilot.results import ToolResult
from rag_assets.copilot.tools.database import TenantDatabase
from rag_assets.copilot.tools.measures import Measure
from rag_assets.copilot.tools.reading import TableQuery, read_table

TOOL = "analytics"
ROW_LIMIT = 50


class GroupBy(Enum):
    """What one row is about."""

    ALL = "all"
    EQUIPMENT = "equipment"
    PLANT = "plant"


@dataclass(frozen=True)
class TrendRequest:
    """What to measure.

    Attributes:
        tenant_id: Whose machines.
        measure: What.
        period: When; the equally long period before it is measured too.
        equipment_ids: Which machines; empty means all.
        plant_id: Only machines of this plant.
        group_by: One row for all of them, per machine or per plant.
        is_ascending: Lowest value first; else highest first.
    """

    tenant_id: str
    measure: Measure
    period: Period
    equipment_ids: tuple[str, ...] = ()
    plant_id: str | None = None
    group_by: GroupBy = GroupBy.ALL
    is_ascending: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        """Values of the query's placeholders."""
        first, last = self.period.days
        return {
            "measure": self.measure.name,
            "starts_at": self.period.starts_at,
            "ends_at": self.period.ends_at,
            "previous_starts_at": self.period.previous_starts_at,
            "first_on": first,
            "last_on": last,
            "previous_first_on": self.period.previous_first_day,
            "equipment_ids": list(self.equipment_ids) or None,
            "plant_id": self.plant_id,
        }


_SUBJECT = {
    GroupBy.ALL: "null::text",
    GroupBy.EQUIPMENT: "equipment_id",
    GroupBy.PLANT: "plant_id",
}


def trend(database: TenantDatabase, request: TrendRequest) -> ToolResult:
    """Measure; NO_DATA where the period has no row or the measure was never recorded in it."""
    query = TableQuery(
        tool=TOOL,
        table=request.measure.table,
        sql=_query(request.measure, request.group_by, request.is_ascending),
        parameters=request.parameters,
        nothing=_nothing(request),
        period=request.period,
        limits=f"at most {ROW_LIMIT} rows",
    )
    return read_table(database, request.tenant_id, query)


def _query(measure: Measure, group_by: GroupBy, is_ascending: bool) -> str:
    """SQL of a measure; only names from this package and the warehouse's own columns are put in."""
    if measure.is_daily:
        is_current = f"measured.{measure.time_column} >= %(first_on)s"
        within = (
            f"measured.{measure.time_column} >= %(previous_first_on)s "
            f"and measured.{measure.time_column} <= %(last_on)s"
        )
    else:
        is_current = f"measured.{measure.time_column} > %(starts_at)s"
        within = (
            f"measured.{measure.time_column} > %(previous_starts_at)s "
            f"and measured.{measure.time_column} <= %(ends_at)s"
        )
    current = " filter (where is_current)"
    aggregates = [
        f"({measure.value_sql.replace('@', current)})::double precision as value",
        f"({measure.value_sql.replace('@', ' filter (where not is_current)')})::double precision"
        " as previous_value",
        *(f"{sql.replace('@', current)} as {name}" for name, sql in measure.extra_sql.items()),
        f"count(*){current} as row_count",
        "count(distinct equipment_id) as machine_count",
    ]
    order = "asc" if is_ascending else "desc"
    return f"""
        with measured as (
            select measured.*, machine.plant_id, {is_current} as is_current
            from {measure.table} as measured
            inner join marts.dim_equipment as machine
                on measured.tenant_id = machine.tenant_id and measured.equipment_id = machine.equipment_id
            where measured.tenant_id = %(tenant_id)s
              and {within}
              and (%(equipment_ids)s::text[] is null or measured.equipment_id = any(%(equipment_ids)s))
              and (%(plant_id)s::text is null or machine.plant_id = %(plant_id)s)
        ),
        figures as (
            select {_SUBJECT[group_by]} as subject, {", ".join(aggregates)}
            from measured
            {"" if group_by is GroupBy.ALL else "group by 1"}
        )
        select %(measure)s::text as measure,
            coalesce(array_to_string(%(equipment_ids)s::text[], ', '), %(plant_id)s::text) as scope,
            figures.*,
            value - previous_value as change,
            100 * (value - previous_value) / nullif(abs(previous_value), 0) as change_percent,
            value - first_value(value) over (order by value {order}, subject) as difference_to_first,
            %(starts_at)s::timestamptz as window_start_at, %(ends_at)s::timestamptz as window_end_at
        from figures
        where value is not null
        order by value {order}, subject
        limit {ROW_LIMIT}
    """  # noqa: S608 - names of this package and of the warehouse's columns, which were matched against [a-z0-9_]


def _nothing(request: TrendRequest) -> str:
    whose = ", ".join(request.equipment_ids) or request.plant_id or f"tenant {request.tenant_id}"
    period = request.period
    return (
        f"{request.measure.table} has no {request.measure.name} of {whose} "
        f"from {period.starts_at:%Y-%m-%d %H:%M} to {period.ends_at:%Y-%m-%d %H:%M} UTC"
    )
