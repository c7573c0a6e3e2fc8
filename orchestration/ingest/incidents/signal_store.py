"""Signals as rows of Postgres: which wait to be grouped, and which incident each one belongs to.

Writing signals is `orchestration.ingest.signals`. Avoid decisions here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row

from orchestration.ingest.incidents.store import SIGNALS_PER_ROUND, Connection
from orchestration.ingest.signals import Signal, SignalKind


@dataclass(frozen=True)
class StoredSignal:
    """A signal with its row and the time at which it was committed.

    Attributes:
        signal_id: Row of `ops.signals`.
        signal: The finding.
        written_at: When the row was written, by the database's clock.
    """

    signal_id: int
    signal: Signal
    written_at: datetime


def signals_to_group(
    connection: Connection, since: datetime | None = None, until: datetime | None = None
) -> list[StoredSignal]:
    """Signals that belong to no incident yet, oldest first, at most 2,000.

    Args:
        connection: Open connection.
        since: Leave out what was known before.
        until: Leave out what was known at or after this.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select * from ops.signals where fingerprint is null
                and known_at >= coalesce(%s::timestamptz, '-infinity')
                and known_at < coalesce(%s::timestamptz, 'infinity')
            order by known_at, signal_id limit %s
            """,
            (since, until, SIGNALS_PER_ROUND),
        ).fetchall()
    return [_stored(row) for row in rows]


def signals_of(connection: Connection, tenant_id: str, fingerprint: str, limit: int = 500) -> list[Signal]:
    """Signals of one incident, in the order in which they were known."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select * from ops.signals where tenant_id = %s and fingerprint = %s
            order by known_at, signal_id limit %s
            """,
            (tenant_id, fingerprint, limit),
        ).fetchall()
    return [_stored(row).signal for row in rows]


def assign(connection: Connection, members: Iterable[tuple[int, str]]) -> None:
    """Write which incident each signal belongs to."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "update ops.signals set fingerprint = %s where signal_id = %s",
            [(fingerprint, signal_id) for signal_id, fingerprint in members],
        )


def move_signals(connection: Connection, tenant_id: str, merged: str, into: str) -> None:
    """Give the signals of a merged incident to the one that took it over."""
    connection.execute(
        "update ops.signals set fingerprint = %s where tenant_id = %s and fingerprint = %s",
        (into, tenant_id, merged),
    )


def _stored(row: dict[str, Any]) -> StoredSignal:
    signal = Signal(
        tenant_id=row["tenant_id"],
        kind=SignalKind(row["kind"]),
        subject=row["subject"],
        observed_at=row["observed_at"],
        known_at=row["known_at"],
        score=row["score"],
        summary=row["summary"],
        operations=tuple(row["operations"]),
        evidence=row["evidence"],
    )
    return StoredSignal(row["signal_id"], signal, row["written_at"])
