"""What was changed in the plant, read from where each change is recorded.

Add a query here when another table records changes. Avoid ranking: `causes` does.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import LiteralString

from orchestration.ingest.incidents.causes import LOOK_BACK, PlantChange
from orchestration.ingest.incidents.store import Connection

CHANGES_READ = 500

_SOURCES: dict[str, LiteralString] = {
    "maintenance-events": """
        select distinct event_type, equipment_id, event_at,
            initcap(replace(event_type, '_', ' ')) || ' of ' || equipment_id
                || coalesce(', ' || component, '') || coalesce(': ' || left(description, 120), ''),
            'raw.maintenance_events ' || equipment_id || ' ' || event_at
        from raw.maintenance_events
        where tenant_id = %(tenant)s and event_type <> 'registration'
            and event_at between %(since)s and %(until)s
        limit %(limit)s
    """,
    "firmware": """
        select 'firmware', equipment_id, event_at,
            equipment_id || ' went from firmware ' || before || ' to ' || firmware_version,
            'raw.maintenance_events ' || equipment_id || ' ' || event_at
        from (
            select equipment_id, event_at, firmware_version,
                lag(firmware_version) over (partition by equipment_id order by event_at) as before
            from raw.maintenance_events
            where tenant_id = %(tenant)s and event_type = 'registration' and event_at <= %(until)s
        ) as registrations
        where firmware_version <> before and event_at >= %(since)s
        limit %(limit)s
    """,
    "promotions": """
        select 'promotion', model_name, coalesce(served_from, decided_at),
            model_name || ' version ' || model_version || ' ' || replace(decision, '_', ' ')
                || ' by ' || decided_by || ': ' || left(reason, 120),
            'ml.promotions ' || promotion_id
        from ml.promotions
        where tenant_id = %(tenant)s and decision <> 'kept_champion'
            and coalesce(served_from, decided_at) between %(since)s and %(until)s
        limit %(limit)s
    """,
    "index builds": """
        select 'index_build', 'service:api', moved_at,
            'The knowledge index ' || alias || ' moved to ' || build_id, 'rag.index_aliases ' || alias
        from rag.index_aliases where moved_at between %(since)s and %(until)s
        limit %(limit)s
    """,
    "announced": """
        select kind, subject, happened_at, summary, 'ops.changes ' || change_id from ops.changes
        where tenant_id = %(tenant)s and happened_at between %(since)s and %(until)s
        limit %(limit)s
    """,
}


def changes_before(connection: Connection, tenant_id: str, at: datetime) -> list[PlantChange]:
    """Changes of the week before an instant: maintenance, firmware, promotions, index builds, announcements.

    Args:
        connection: Open connection.
        tenant_id: Owner.
        at: The incident's start.
    """
    window: Mapping[str, object] = {
        "tenant": tenant_id,
        "since": at - LOOK_BACK,
        "until": at,
        "limit": CHANGES_READ,
    }
    return [
        PlantChange(*row)
        for query in _SOURCES.values()
        for row in connection.execute(query, window).fetchall()
    ]


def announce_change(connection: Connection, tenant_id: str, change: PlantChange, source: str) -> None:
    """Record a change that no other table knows of: a release, a configuration, a contract's new version.

    The same change announced again changes nothing.
    """
    connection.execute(
        """
        insert into ops.changes (tenant_id, kind, subject, happened_at, summary, source)
        values (%s, %s, %s, %s, %s, %s) on conflict do nothing
        """,
        (tenant_id, change.kind, change.subject, change.happened_at, change.summary, source),
    )
