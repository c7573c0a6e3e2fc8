"""Who may land: leases in Postgres, freed by the server itself when their holder dies.

A lease is an advisory lock of a session, beside a row in `ops.leases` that shows the holder to people
and to the lag sensor. Correctness does not rest on it (positions are fenced); it keeps two landers
from doing the same work. Add here what concerns holding. Avoid what is done under a lease.
"""

import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import psycopg

SERVICE_LEASE = "landing"
"""Held by `opsgraph land --follow`; while it is, the lag sensor leaves all topics to it."""
TTL_S = 15.0  # until a row of a holder that was killed no longer counts


def topic_lease(topic: str) -> str:
    """Lease on one topic, held while anybody lands it."""
    return f"landing/{topic}"


class Lease:
    """A held lease. Release it, or let the process end."""

    def __init__(self, connection: psycopg.Connection[Any], name: str, holder: str) -> None:
        self._connection = connection
        self.name = name
        self.holder = holder
        self._stop = threading.Event()
        self._is_lost = False
        self._renewal = threading.Thread(target=self._renew, name=f"lease {name}", daemon=True)
        self._renewal.start()

    @property
    def is_lost(self) -> bool:
        """Whether the session that held the lock is gone (Postgres was restarted)."""
        return self._is_lost

    def release(self) -> None:
        """Give the lease back."""
        self._stop.set()
        self._renewal.join()
        with suppress(psycopg.Error):
            self._connection.execute(
                "delete from ops.leases where lease = %s and holder = %s", (self.name, self.holder)
            )
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _renew(self) -> None:
        while not self._stop.wait(TTL_S / 3):
            try:
                _show_holder(self._connection, self.name, self.holder)
            except psycopg.Error:
                self._is_lost = True
                return


def acquire(database_url: str, name: str, holder: str, is_shared: bool = False) -> Lease | None:
    """Take a lease if nobody holds it.

    Args:
        database_url: `postgresql://…`; the lease takes a connection of its own.
        name: Lease.
        holder: Who asks, for people: host, process, purpose.
        is_shared: Whether others may hold it too if they also share it.

    Returns:
        The lease; None while another session holds it and does not share it.
    """
    take = "pg_try_advisory_lock_shared" if is_shared else "pg_try_advisory_lock"
    connection = psycopg.connect(database_url, autocommit=True)
    try:
        row = connection.execute(f"select {take}(hashtextextended(%s, 0))", (name,)).fetchone()
        if row is None or not row[0]:
            connection.close()
            return None
        _show_holder(connection, name, holder)
    except BaseException:
        connection.close()
        raise
    return Lease(connection, name, holder)


def holder_of(connection: psycopg.Connection[Any], name: str) -> str | None:
    """Who holds a lease now; None where nobody does."""
    row = connection.execute(
        "select holder from ops.leases where lease = %s and expires_at > now()", (name,)
    ).fetchone()
    return str(row[0]) if row else None


def _show_holder(connection: psycopg.Connection[Any], name: str, holder: str) -> None:
    connection.execute(
        """
        insert into ops.leases (lease, holder, acquired_at, expires_at)
        values (%(lease)s, %(holder)s, now(), now() + %(ttl)s * interval '1 second')
        on conflict (lease) do update set
            holder = excluded.holder,
            expires_at = excluded.expires_at,
            acquired_at = case
                when ops.leases.holder = excluded.holder then ops.leases.acquired_at
                else excluded.acquired_at
            end
        """,
        {"lease": name, "holder": holder, "ttl": TTL_S},
    )
