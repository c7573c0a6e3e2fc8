"""The `logs` tool: what the log detectors found, incidents, and how many lines and errors a service wrote.

The text of log lines is data: it is counted and quoted, never followed. Avoid detection here.
"""

from rag_assets.copilot.periods import Period
from rag_assets.copilot.results import ToolResult
from rag_assets.copilot.tools.database import TenantDatabase
from rag_assets.copilot.tools.reading import TableQuery, read_table

TOOL = "logs"
SIGNALS = "ops.signals"
WINDOWS = "logs.windows"
INCIDENTS = "ops.incidents"

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

_WINDOWS = """
    select source, sum(lines) as line_count, sum(errors) as error_count,
        100.0 * sum(errors) / nullif(sum(lines), 0) as error_percent,
        sum(response_sum_ms) / nullif(sum(responses), 0) as mean_response_ms
    from logs.windows
    where tenant_id = %(tenant_id)s
      and (%(subject)s::text is null or source = %(subject)s)
      and starts_at >= %(starts_at)s and starts_at < %(ends_at)s
    group by source
    order by error_count desc, source
    limit 8
"""

_INCIDENTS = """
    select fingerprint, family, severity, state, subject, started_at, detected_at, resolved_at,
        count(*) over () as incident_count
    from ops.incidents
    where tenant_id = %(tenant_id)s
      and (%(subject)s::text is null or subject = %(subject)s)
      and state <> 'merged'
      and started_at > %(starts_at)s and started_at <= %(ends_at)s
    order by started_at desc
    limit 5
"""


def log_signals(
    database: TenantDatabase, tenant_id: str, period: Period, subject: str | None = None
) -> ToolResult:
    """Findings of the log detectors in a period, the least likely by chance first."""
    return read_table(database, tenant_id, _query(SIGNALS, _SIGNALS, period, subject, "the 8 strongest"))


def log_windows(
    database: TenantDatabase, tenant_id: str, period: Period, subject: str | None = None
) -> ToolResult:
    """Lines, errors and mean response time per service, of the closed one-minute windows."""
    return read_table(database, tenant_id, _query(WINDOWS, _WINDOWS, period, subject, "the 8 worst services"))


def incidents(
    database: TenantDatabase, tenant_id: str, period: Period, subject: str | None = None
) -> ToolResult:
    """Incidents that began in a period, the latest first."""
    return read_table(database, tenant_id, _query(INCIDENTS, _INCIDENTS, period, subject, "the 5 latest"))


def _query(table: str, sql: str, period: Period, subject: str | None, limits: str) -> TableQuery:
    whose = f" of {subject}" if subject else ""
    return TableQuery(
        tool=TOOL,
        table=table,
        sql=sql,
        parameters={"subject": subject, "starts_at": period.starts_at, "ends_at": period.ends_at},
        nothing=(
            f"{table} has nothing{whose} "
            f"from {period.starts_at:%Y-%m-%d %H:%M} to {period.ends_at:%Y-%m-%d %H:%M} UTC"
        ),
        period=period,
        limits=limits,
    )
