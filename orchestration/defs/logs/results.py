"""What the assets of the logs show in the web UI."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg

if TYPE_CHECKING:
    from orchestration.ingest.incidents.lifecycle import Advance
    from orchestration.ingest.log_days import Day, TemplateDay, WindowDay


def figures(found: "WindowDay | TemplateDay") -> dict[str, Any]:
    """The counts of a day."""
    return asdict(found)


def incidents_metadata(connection: psycopg.Connection, day: "Day", advance: "Advance") -> dict[str, Any]:
    """Incidents that began on a day, as a table, and what this run added."""
    rows = connection.execute(
        """
        select left(fingerprint, 8), severity, state, subject, to_char(started_at, 'HH24:MI'),
            affected -> subject ->> 'summary'
        from ops.incidents where started_at >= %s and started_at < %s and state <> 'merged'
        order by started_at limit 50
        """,
        (day.starts_at, day.ends_at),
    ).fetchall()
    lines = [" | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in row) for row in rows]
    head = "| incident | severity | state | subject | began | what |\n|---|---|---|---|---|---|\n"
    return {
        "dagster/row_count": len(rows),
        "signals_grouped": advance.signals,
        "steps": len(advance.steps),
        "incidents": dg.MetadataValue.md(head + "\n".join(f"| {line} |" for line in lines)),
    }


def alerts_metadata(connection: psycopg.Connection, day: "Day") -> dict[str, Any]:
    """Alerts of incidents that began on a day, and what became of their deliveries."""
    row = connection.execute(
        """
        select count(distinct (a.fingerprint, a.revision)),
            count(*) filter (where d.state = 'sent'), count(*) filter (where d.state = 'pending'),
            count(*) filter (where d.state = 'refused')
        from ops.incidents i join ops.alerts a using (tenant_id, fingerprint)
        left join ops.deliveries d using (tenant_id, fingerprint)
        where i.started_at >= %s and i.started_at < %s
        """,
        (day.starts_at, day.ends_at),
    ).fetchone()
    names = ("dagster/row_count", "deliveries_sent", "deliveries_waiting", "deliveries_refused")
    return dict(zip(names, row or (0, 0, 0, 0), strict=True))
