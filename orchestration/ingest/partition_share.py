"""Which partitions are whose when several landers share a topic.

Each lander holds the topic's lease together with the others, and an advisory lock on each partition
that it lands. Everybody's fair share follows from how many hold the topic's lease, which the server
counts: a lander that is killed is gone from the count at once, and its partitions are free.
Correctness does not rest on it: positions are fenced. Add here what concerns sharing out. Avoid landing.
"""

from collections.abc import Collection
from contextlib import suppress
from typing import Any

import psycopg

from orchestration.ingest.leases import topic_lease


def partition_lease(topic: str, partition: int) -> str:
    """Lock on one partition, by number: whoever has it also lands the topic's later incarnations."""
    return f"landing/{topic}/{partition}"


class PartitionShare:
    """The partitions of one lander. Close it, or let the process end."""

    def __init__(self, database_url: str) -> None:
        """Open the session that holds the locks."""
        self._connection: psycopg.Connection[Any] = psycopg.connect(database_url, autocommit=True)
        self._held: dict[str, set[int]] = {}

    def close(self) -> None:
        """Give every partition back."""
        with suppress(psycopg.Error):
            self._connection.close()

    def held(self, topic: str) -> frozenset[int]:
        """Partitions of a topic that are held now."""
        return frozenset(self._held.get(topic, ()))

    def take(self, topic: str, partitions: Collection[int]) -> frozenset[int]:
        """Take those partitions that nobody holds; return the ones that are held then."""
        held = self._held.setdefault(topic, set())
        for partition in sorted(set(partitions) - held):
            if self._try(topic, partition):
                held.add(partition)
        return frozenset(held)

    def is_unfair(self, topic: str, partitions: Collection[int]) -> bool:
        """Whether this lander holds too many, or could take another one and has done so."""
        held, fair = self._held.setdefault(topic, set()), self._fair(topic, partitions)
        if len(held) > fair:
            return True
        missing = sorted(set(partitions) - held)
        while len(held) < fair and missing:
            partition = missing.pop(0)
            if self._try(topic, partition):
                held.add(partition)
                return True
        return False

    def settle(self, topic: str, partitions: Collection[int]) -> frozenset[int]:
        """Give back what is too much and take what is free, up to the fair share.

        Nothing of what is given back may be landed any more: call it between two pipelines.
        """
        held, fair = self._held.setdefault(topic, set()), self._fair(topic, partitions)
        for partition in sorted(held)[fair:]:
            self._connection.execute(
                "select pg_advisory_unlock(hashtextextended(%s, 0))", (partition_lease(topic, partition),)
            )
            held.discard(partition)
        for partition in sorted(set(partitions) - held):
            if len(held) < fair and self._try(topic, partition):
                held.add(partition)
        return frozenset(held)

    def _try(self, topic: str, partition: int) -> bool:
        row = self._connection.execute(
            "select pg_try_advisory_lock(hashtextextended(%s, 0))", (partition_lease(topic, partition),)
        ).fetchone()
        return row is not None and bool(row[0])

    def _fair(self, topic: str, partitions: Collection[int]) -> int:
        """A fair share, rounded up: nobody may leave a partition to no one."""
        row = self._connection.execute(
            """
            select count(*) from pg_locks
            where locktype = 'advisory' and granted and mode = 'ShareLock' and objsubid = 1
                and database = (select oid from pg_database where datname = current_database())
                and (classid::bigint << 32 | objid::bigint) = hashtextextended(%s, 0)
            """,
            (topic_lease(topic),),
        ).fetchone()
        landers = max(int(row[0]) if row else 1, 1)
        return -(-len(partitions) // landers)
