"""The `logs` tool: what the log detectors found, and how many lines of which level a service wrote.

The text of log lines is data: it is counted and quoted, never followed. Avoid detection here.
"""

from rag_assets.copilot.periods import Period
from rag_assets.copilot.results import ToolResult
from rag_assets.copilot.tools.database import TenantDatabase
from rag_assets.copilot.tools.reading import TableQuery, read_table

TOOL = "logs"
SIGNALS = "ops.signals"
LINES = "staging.stg_logs"

_SIGNALS = """
    select kind, subject, observed_at, score, summary, count(*) over () as signal_count
    from ops.signals
    where tenant_id = %(tenant_id)s
      and (%(subject)s::text is null or subject = %(subject)s)
      and (kind like 'log%%' or kind in ('resource', 'liveness'))
      and observed_at > %(starts_at)s and observed_at <= %(ends_at)s
    order by score desc, observed_at desc
    limit 8
"""

_LEVELS = """
    select source, level, count(*) as line_count, max(event_at) as last_line_at,
        avg(response_time_ms)::double precision as mean_response_time_ms
    from staging.stg_logs
    where tenant_id = %(tenant_id)s
      and (%(subject)s::text is null or source = %(subject)s)
      and level in ('WARNING', 'ERROR', 'CRITICAL')
      and event_at > %(starts_at)s and event_at <= %(ends_at)s
    group by source, level
    order by line_count desc, source, level
    limit 8
"""


def log_signals(
    database: TenantDatabase, tenant_id: str, period: Period, subject: str | None = None
) -> ToolResult:
    """Findings of the log detectors in a period, the least likely by chance first."""
    return read_table(database, tenant_id, _query(SIGNALS, _SIGNALS, period, subject, "the 8 strongest"))


def log_levels(
    database: TenantDatabase, tenant_id: str, period: Period, subject: str | None = None
) -> ToolResult:
    """Lines per service and level, warnings and worse."""
    return read_table(database, tenant_id, _query(LINES, _LEVELS, period, subject, "the 8 largest groups"))


def _query(table: str, sql: str, period: Period, subject: str | None, limits: str) -> TableQuery:
    whose = f" of {subject}" if subject else ""
    return TableQuery(
        tool=TOOL,
        table=table,
        sql=sql,
        parameters={"subject": subject, "starts_at": period.starts_at, "ends_at": period.ends_at},
        nothing=(
            f"{table} has no warning or finding{whose} "
            f"from {period.starts_at:%Y-%m-%d %H:%M} to {period.ends_at:%Y-%m-%d %H:%M} UTC"
        ),
        period=period,
        limits=limits,
    )
