"""The ledger: one row per committed offset range, its counts, and the writes that go with it.

Add here what a ledger row says. Avoid the proof that it adds up: `ledger_check` does that.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from orchestration.ingest.offsets import CONSUMER, LandingError, PartitionId, Range


class FencedError(LandingError):
    """Another lander moved this partition's position meanwhile; nothing of this batch was kept."""


@dataclass(frozen=True)
class Counts:
    """What became of the offsets of a range, term by term.

    Attributes:
        landed: Rows in the raw table.
        dead_lettered: Messages kept in `ops.dead_letters`.
        discarded: Messages that the contract says to drop.
        tombstones: Messages without payload.
        absent: Offsets without a message (compaction, transaction markers, retention).
        discarded_values: Values of landed rows replaced by null; not a term of the sum.
        superseded: Minus the rows that were landed again with other values: their older versions stay in the
            raw table, so `landed` counts both and this takes one off.
    """

    landed: int = 0
    dead_lettered: int = 0
    discarded: int = 0
    tombstones: int = 0
    absent: int = 0
    discarded_values: int = 0
    superseded: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.landed + other.landed,
            self.dead_lettered + other.dead_lettered,
            self.discarded + other.discarded,
            self.tombstones + other.tombstones,
            self.absent + other.absent,
            self.discarded_values + other.discarded_values,
            self.superseded + other.superseded,
        )

    @property
    def span(self) -> int:
        """Offsets that the terms stand for."""
        terms = self.landed + self.dead_lettered + self.discarded + self.tombstones + self.absent
        return terms + self.superseded


@dataclass(frozen=True)
class LedgerRow:
    """One row of `ops.landing_ledger`."""

    batch_id: int
    partition: PartitionId
    offsets: Range
    counts: Counts
    landed_at: datetime
    run_id: str | None = None


def advance(connection: psycopg.Connection[Any], moves: Sequence[tuple[PartitionId, Range]]) -> None:
    """Move partitions' positions over ranges, if each still stands at its range's begin. One round trip.

    Raises:
        FencedError: One stands elsewhere; the caller's transaction must not be committed.
    """
    moved: set[tuple[uuid.UUID, int]] = set()
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            update ops.consumer_offsets set next_offset = %s, updated_at = now()
            where consumer = %s and topic_id = %s and kafka_partition = %s and next_offset = %s
            returning topic_id, kafka_partition
            """,
            [(span.hi, CONSUMER, item.topic_id, item.partition, span.lo) for item, span in moves],
            returning=True,
        )
        while True:
            moved.update(cursor.fetchall())
            if not cursor.nextset():
                break
    for partition, offsets in moves:
        if (partition.topic_id, partition.partition) not in moved:
            raise FencedError(
                f"{partition}: offsets {offsets.lo} to {offsets.hi} were not landed, because the position is "
                f"no longer {offsets.lo}: another lander works on this partition. Its rows are kept, these "
                "are not needed; see `opsgraph ledger check`."
            )


def write_rows(connection: psycopg.Connection[Any], rows: Sequence[LedgerRow]) -> None:
    """Insert ledger rows; the database refuses one whose terms do not add up to its span."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into ops.landing_ledger (
                batch_id, topic, topic_id, kafka_partition, offset_lo, offset_hi, landed, dead_lettered,
                discarded, tombstones, absent, discarded_values, superseded, landed_at, run_id
            ) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    row.batch_id, row.partition.topic, row.partition.topic_id, row.partition.partition,
                    row.offsets.lo, row.offsets.hi, row.counts.landed, row.counts.dead_lettered,
                    row.counts.discarded, row.counts.tombstones, row.counts.absent,
                    row.counts.discarded_values, row.counts.superseded, row.landed_at, row.run_id,
                )
                for row in rows
            ],
        )  # fmt: skip


def next_batch_ids(connection: psycopg.Connection[Any], count: int) -> list[int]:
    """Take ids from the sequence. Ids that are never used leave holes, which mean nothing."""
    rows = connection.execute(
        "select nextval('ops.batch_id') from generate_series(1, %s)", (count,)
    ).fetchall()
    return [int(row[0]) for row in rows]


def account_for_lost(
    connection: psycopg.Connection[Any], partition: PartitionId, lost: Range, run_id: str | None
) -> str:
    """Write a range that retention deleted into the ledger as absent, and into the findings.

    Returns:
        The finding's text, to be shown.
    """
    text = (
        f"{partition}: offsets {lost.lo} to {lost.hi} ({len(lost)} messages) were deleted by retention "
        "before they were landed. The ledger counts them as absent; lengthen the topic's retention.ms "
        "or land more often. The messages can only come from the source again."
    )
    (batch_id,) = next_batch_ids(connection, 1)
    row = connection.execute("select now()").fetchone()
    assert row is not None
    advance(connection, [(partition, lost)])
    write_rows(connection, [LedgerRow(batch_id, partition, lost, Counts(absent=len(lost)), row[0], run_id)])
    connection.execute(
        """
        insert into ops.landing_findings
            (batch_id, topic, topic_id, kafka_partition, offset_lo, offset_hi, kind, message)
        values (%s, %s, %s, %s, %s, %s, 'lost_to_retention', %s)
        """,
        (batch_id, partition.topic, partition.topic_id, partition.partition, lost.lo, lost.hi, text),
    )
    return text
