"""Running one tool query: every way that it can end becomes a `ToolResult`, never an exception.

Avoid queries here; each tool holds its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rag_assets.copilot.periods import Period
from rag_assets.copilot.results import Row, TableSource, ToolResult, ToolStatus, Window
from rag_assets.copilot.tools.database import NotBuiltError, QueryFailedError, TenantDatabase


@dataclass(frozen=True)
class TableQuery:
    """A SELECT of one tool.

    Attributes:
        tool: Name of the tool.
        table: What it mainly reads; citations name it.
        sql: With `%(tenant_id)s`.
        parameters: Other placeholders.
        nothing: What is missing when no row comes back, and how to get it.
        period: Time covered, where the query has one.
        limits: What the query leaves out, in words.
        as_of: Instant that the rows describe, of the rows; the end of the period by default.
        keep: Which rows count; all by default.
    """

    tool: str
    table: str
    sql: str
    parameters: Mapping[str, Any]
    nothing: str
    period: Period | None = None
    limits: str = ""
    as_of: Callable[[Sequence[Row]], datetime | None] | None = None
    keep: Callable[[Row], bool] = field(default=lambda _: True)


def read_table(database: TenantDatabase, tenant_id: str, query: TableQuery) -> ToolResult:
    """Run a query for one tenant.

    Raises:
        MissingTenantError: `tenant_id` is empty.
    """
    parameters = {**query.parameters, "tenant_id": tenant_id}
    period = query.period
    window = Window(period.starts_at, period.ends_at) if period else None

    def ended(status: ToolStatus, missing: str = "", rows: Sequence[Row] = ()) -> ToolResult:
        as_of = query.as_of(rows) if query.as_of and rows else period.ends_at if period else None
        sources = (TableSource(query.table, as_of, tuple(rows), query.sql),) if rows else ()
        return ToolResult(query.tool, status, query.sql, parameters, sources, window, missing, query.limits)

    try:
        rows = [row for row in database.rows(query.sql, **parameters) if query.keep(row)]
    except NotBuiltError as error:
        return ended(ToolStatus.NO_DATA, f"{query.table} does not exist yet ({error})")
    except QueryFailedError as error:
        return ended(ToolStatus.ERROR, f"{query.table} could not be read: {error}")
    if not rows:
        return ended(ToolStatus.NO_DATA, query.nothing)
    return ended(ToolStatus.SUCCESS, rows=rows)


def latest(column: str) -> Callable[[Sequence[Row]], datetime | None]:
    """`as_of` as the highest value of a column."""
    return lambda rows: max((row[column] for row in rows if row.get(column)), default=None)
