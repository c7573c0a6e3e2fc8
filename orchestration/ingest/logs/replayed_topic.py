"""Has the lines of a replay counted and judged, and says what became of them.

Where the window service lives, it does the work and this waits for it; else this process does. Avoid sending:
`replay.log_sets` does.
"""

import time
from dataclasses import dataclass

import psycopg

from orchestration.ingest.heartbeats import is_alive
from orchestration.ingest.logs import window_store
from orchestration.ingest.logs.window_service import NAME, TOPIC, WindowService
from orchestration.ingest.offsets import broker_bounds
from orchestration.ingest.topics import admin_client

POLL_S = 0.5


@dataclass(frozen=True)
class TenantTotals:
    """What the windows of a tenant hold.

    Attributes:
        lines: Lines counted.
        late: Of these, lines that came after their window was judged.
        windows_closed: Minutes judged.
        alerts: Minutes with a signal.
        signals: Findings.
    """

    lines: int
    late: int
    windows_closed: int
    alerts: int
    signals: int


def judge_replayed(database_url: str, bootstrap_servers: str, tenant_id: str) -> TenantTotals:
    """Wait until a tenant's lines are counted and its minutes judged, or do it.

    Raises:
        PositionMovedError: Somebody else counts at the same time without giving signs of life.
        LandingError: The broker does not answer.
    """
    bounds = broker_bounds(admin_client(bootstrap_servers), [TOPIC])
    with psycopg.connect(database_url, autocommit=True) as connection:
        while is_alive(connection, NAME):
            known = window_store.positions(connection, TOPIC)
            is_read = all(known.get(p, 0) >= b.end for p, b in bounds.items())
            if is_read and not window_store.open_windows(connection, tenant_id):
                return totals(connection, tenant_id)
            time.sleep(POLL_S)
        WindowService(database_url, bootstrap_servers).run(until_end=True, close_tenant=tenant_id)
        return totals(connection, tenant_id)


def totals(connection: psycopg.Connection, tenant_id: str) -> TenantTotals:
    """Counts of a tenant from the first line on."""
    row = connection.execute(
        """
        select (select coalesce(sum(lines), 0)::bigint from logs.windows
                where tenant_id = %(tenant)s and source = ''),
            (select coalesce(sum(late_lines), 0)::bigint from logs.windows
                where tenant_id = %(tenant)s and source = ''),
            (select count(*) from logs.verdicts where tenant_id = %(tenant)s),
            (select count(distinct evidence ->> 'window_starts_at') from ops.signals
                where tenant_id = %(tenant)s and evidence ? 'window_starts_at'),
            (select count(*) from ops.signals
                where tenant_id = %(tenant)s and evidence ? 'window_starts_at')
        """,
        {"tenant": tenant_id},
    ).fetchone()
    assert row is not None
    return TenantTotals(*row)
