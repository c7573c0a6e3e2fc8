"""The `changes` tool: what was changed before this? Maintenance, firmware, models, documents, verdicts.

Each kind of change is one query in `_KINDS`; a kind whose table is not there yet is left out. Avoid
errors and readings: they are symptoms, not changes.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rag_assets.copilot.periods import Period
from rag_assets.copilot.results import Row, TableSource, ToolResult, ToolStatus, Window
from rag_assets.copilot.tools.database import TenantDatabase
from rag_assets.copilot.tools.reading import TableQuery, read_table

TOOL = "changes"

_KINDS: Mapping[str, str] = {
    "marts.fact_equipment_events": """
        select event_at as changed_at, replace(event_type, '_', ' ') as change, equipment_id as subject,
            coalesce(code, description) as detail
        from marts.fact_equipment_events
        where tenant_id = %(tenant_id)s
          and event_type in ('maintenance', 'component_replacement', 'firmware_update', 'registration')
          and (%(equipment_id)s::text is null or equipment_id = %(equipment_id)s)
          and event_at > %(starts_at)s and event_at <= %(ends_at)s
        order by event_at desc
        limit 8
    """,
    "ml.promotions": """
        select served_from as changed_at, 'model ' || replace(decision, '_', ' ') as change,
            model_name as subject, 'version ' || model_version as detail
        from ml.promotions
        where tenant_id = %(tenant_id)s and decision in ('promoted', 'rolled_back')
          and %(equipment_id)s::text is distinct from ''
          and served_from > %(starts_at)s and served_from <= %(ends_at)s
        order by served_from desc
        limit 4
    """,
    "rag.documents": """
        select effective_on::timestamptz as changed_at, 'document takes effect' as change,
            document_id as subject, 'version ' || version as detail
        from rag.documents
        where tenant_id = %(tenant_id)s and %(equipment_id)s::text is distinct from ''
          and effective_on::timestamptz > %(starts_at)s and effective_on::timestamptz <= %(ends_at)s
        order by effective_on desc, document_id
        limit 4
    """,
    "ml.drift_verdicts": """
        select decided_at as changed_at, 'drift verdict' as change,
            coalesce(equipment_id, model_name, tenant_id) as subject,
            verdict || coalesce(' ' || metric, '') as detail
        from ml.drift_verdicts
        where tenant_id = %(tenant_id)s
          and (%(equipment_id)s::text is null or equipment_id is null or equipment_id = %(equipment_id)s)
          and decided_at > %(starts_at)s and decided_at <= %(ends_at)s
        order by decided_at desc
        limit 4
    """,
    "ops.incident_calendar": """
        select starts_at as changed_at, kind as change, coalesce(equipment_id, tenant_id) as subject,
            reason as detail
        from ops.incident_calendar
        where tenant_id = %(tenant_id)s
          and (%(equipment_id)s::text is null or equipment_id is null or equipment_id = %(equipment_id)s)
          and starts_at > %(starts_at)s and starts_at <= %(ends_at)s
        order by starts_at desc
        limit 4
    """,
}


def changes(
    database: TenantDatabase, tenant_id: str, period: Period, equipment_id: str | None = None
) -> ToolResult:
    """Changes of a period, newest first, from every table that records one.

    Args:
        database: Read-only rows.
        tenant_id: Whose.
        period: When.
        equipment_id: Changes of this machine and of everything that all machines share; None: all.
    """
    parameters: dict[str, Any] = {
        "equipment_id": equipment_id,
        "starts_at": period.starts_at,
        "ends_at": period.ends_at,
    }
    results = [
        read_table(database, tenant_id, TableQuery(TOOL, table, sql, parameters, "", period))
        for table, sql in _KINDS.items()
    ]
    sources = tuple(source for result in results for source in result.sources)
    whose = equipment_id or f"tenant {tenant_id}"
    looked_at = ", ".join(_KINDS)
    nothing = f"no change of {whose} is recorded in this period (looked at {looked_at})"
    return ToolResult(
        tool=TOOL,
        status=_status(results),
        query=";\n".join(result.query for result in results),
        parameters={**parameters, "tenant_id": tenant_id},
        sources=sources,
        window=Window(period.starts_at, period.ends_at),
        missing="" if sources else nothing,
        limits="at most 8 events of machines and 4 changes of each other kind",
    )


def newest_first(result: ToolResult) -> list[tuple[TableSource, Row]]:
    """The changes of all tables by time, newest first, each with the source that it stands in."""
    pairs = [
        (source, row) for source in result.sources if isinstance(source, TableSource) for row in source.rows
    ]
    return sorted(pairs, key=lambda pair: _changed_at(pair[1]), reverse=True)


def _changed_at(row: Row) -> datetime:
    return row["changed_at"]


def _status(results: list[ToolResult]) -> ToolStatus:
    if any(result.sources for result in results):
        return ToolStatus.SUCCESS
    failed = any(result.status is ToolStatus.ERROR for result in results)
    return ToolStatus.ERROR if failed else ToolStatus.NO_DATA
