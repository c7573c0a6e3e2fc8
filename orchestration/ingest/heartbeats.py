"""Signs of life that services leave in `ops.heartbeats`; who goes in an orderly way takes its own away.

Avoid judging who is dead: `incidents.liveness` does. It stands apart so that a service can show that it lives
without importing what watches it.
"""

from typing import Any

import psycopg

Connection = psycopg.Connection[Any]


def beat(connection: Connection, component: str, interval_s: float) -> None:
    """Show a sign of life.

    Args:
        connection: Committed by the caller.
        component: `service:…`.
        interval_s: How often this will be called.
    """
    connection.execute(
        """
        insert into ops.heartbeats (component, beat_at, interval_s) values (%s, clock_timestamp(), %s)
        on conflict (component) do update set beat_at = excluded.beat_at, interval_s = excluded.interval_s
        """,
        (component, interval_s),
    )


def retire(connection: Connection, component: str) -> None:
    """Say goodbye: who stops in an orderly way is not missed."""
    connection.execute("delete from ops.heartbeats where component = %s", (component,))


def is_alive(connection: Connection, component: str) -> bool:
    """Whether a component's next sign of life is not overdue by more than two intervals."""
    row = connection.execute(
        "select clock_timestamp() - beat_at < interval_s * interval '3 seconds' from ops.heartbeats "
        "where component = %s",
        (component,),
    ).fetchone()
    return bool(row and row[0])
