"""What is forgotten, when, and what must not be: holds, and dead letters whose time has passed.

Add a kind of data here when it may be deleted by age. Avoid erasing one person: `erasure` does that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.lake import Lake
from orchestration.ingest.lake_journal import renew_letters
from orchestration.ingest.services import LandingServices

EXPIRED = b"opsgraph expired: the time for which refused messages are kept has passed\n"


@dataclass(frozen=True)
class Hold:
    """Something that must not be deleted; no tenant means all of them."""

    hold_id: int
    tenant_id: str | None
    reason: str
    placed_by: str
    placed_at: datetime


@dataclass(frozen=True)
class Expiry:
    """What would go or has gone.

    Attributes:
        by_topic: Dead letters.
        held: Holds that keep everything.
        ids: Letters whose bytes have gone.
        sent: Rows of the outbox whose messages had left long ago.
    """

    by_topic: dict[str, int]
    held: Sequence[Hold]
    ids: Sequence[int] = ()
    sent: int = 0

    @property
    def count(self) -> int:
        """Dead letters of all topics."""
        return sum(self.by_topic.values())


def place_hold(
    connection: psycopg.Connection[Any], reason: str, placed_by: str, tenant_id: str | None = None
) -> int:
    """Keep everything of a tenant (or of all) until the hold is released; gives its number."""
    row = connection.execute(
        "insert into ops.legal_holds (tenant_id, reason, placed_by) values (%s, %s, %s) returning hold_id",
        (tenant_id, reason, placed_by),
    ).fetchone()
    assert row is not None
    return int(row[0])


def release_hold(connection: psycopg.Connection[Any], hold_id: int) -> bool:
    """End a hold; False where there is none of this number, or it was released before."""
    done = connection.execute(
        "update ops.legal_holds set released_at = now() where hold_id = %s and released_at is null",
        (hold_id,),
    )
    return done.rowcount > 0


def holds(connection: psycopg.Connection[Any]) -> list[Hold]:
    """Holds that were not released."""
    rows = connection.execute(
        """
        select hold_id, tenant_id, reason, placed_by, placed_at
        from ops.legal_holds where released_at is null order by hold_id
        """
    ).fetchall()
    return [Hold(*row) for row in rows]


def expire_dead_letters(connection: psycopg.Connection[Any], age: timedelta, is_dry_run: bool) -> Expiry:
    """Delete the bytes of dead letters that are older than `age`, replayed or not; rows and counts stay.

    Notes of messages that were sent before then (their keys and headers) go with them. A refused message
    can't be read, so nobody knows whose it is: any hold keeps all of them.

    Args:
        connection: The caller's transaction.
        age: Time since landing after which the bytes go.
        is_dry_run: Count only.
    """
    held = holds(connection)
    due = "landed_at < now() - %s and expired_at is null and erased_at is null"
    rows = connection.execute(
        f"select topic, count(*) from ops.dead_letters where {due} group by topic order by topic",  # noqa: S608
        (age,),
    ).fetchall()
    gone: list[int] = []
    sent = 0
    if not is_dry_run and not held:
        changed = connection.execute(
            f"update ops.dead_letters set payload = %s, headers = '[]', expired_at = now() where {due} "  # noqa: S608
            "returning dead_letter_id",
            (EXPIRED, age),
        )
        gone = [int(row[0]) for row in changed]
        sent = connection.execute("delete from ops.outbox where sent_at < now() - %s", (age,)).rowcount
    return Expiry({str(topic): int(count) for topic, count in rows}, held, gone, sent)


def expire_everywhere(
    services: LandingServices, contracts: Iterable[TopicContract], age: timedelta, is_dry_run: bool
) -> Expiry:
    """Delete the bytes of old dead letters in Postgres and in the lake's journals.

    Args:
        services: Addresses.
        contracts: Contracts of the landed topics.
        age: Time since landing after which the bytes go.
        is_dry_run: Count only.
    """
    with psycopg.connect(services.database_url) as connection:
        expiry = expire_dead_letters(connection, age, is_dry_run)
        if expiry.ids:
            renew_letters(connection, Lake(services.lake_url, services.catalog_uri), contracts, expiry.ids)
    return expiry
