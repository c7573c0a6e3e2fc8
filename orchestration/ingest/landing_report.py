"""What one landing did, as a value; and the same for what another lander did meanwhile.

Add a field here when Dagster or the terminal should show it. Avoid landing.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from orchestration.ingest.batch import Batch
from orchestration.ingest.ledger import Counts
from orchestration.ingest.offsets import PartitionId, Range


@dataclass(frozen=True)
class PartitionReport:
    """What was landed of one partition.

    Attributes:
        partition: Which.
        offsets: Range that was accounted for.
        counts: Its terms.
    """

    partition: PartitionId
    offsets: Range
    counts: Counts


@dataclass(frozen=True)
class LandingReport:
    """What one landing did.

    Attributes:
        topic: Topic.
        partitions: Per partition; partitions without news are left out.
        batch_ids: Ledger rows that were written, ascending.
        lag: Offsets that waited when it ended.
        seconds: Wall time from the first look at the broker to the last commit of the lake.
        loading: Begin and end, on the machine's monotonic clock, of the part that carries rows: from the
            assignment of the partitions to the last commit in Postgres. Both are 0 where nothing came.
        findings: What was found lost or could not be sent on, in words.
        landed_by: `this run`, or the holder of the lease who landed it meanwhile.
    """

    topic: str
    partitions: tuple[PartitionReport, ...]
    batch_ids: tuple[int, ...]
    lag: int
    seconds: float
    findings: tuple[str, ...] = ()
    landed_by: str = "this run"
    loading: tuple[float, float] = (0.0, 0.0)

    @property
    def counts(self) -> Counts:
        """Terms over all partitions."""
        return sum((item.counts for item in self.partitions), Counts())


@dataclass
class LandingProgress:
    """Collects what a pipeline commits."""

    ranges: dict[PartitionId, Range] = field(default_factory=dict[PartitionId, Range])
    counts: dict[PartitionId, Counts] = field(default_factory=dict[PartitionId, Counts])
    batch_ids: list[int] = field(default_factory=list[int])
    last_commit: float = 0.0

    def add(self, batches: Sequence[Batch]) -> None:
        """Take note of a committed group of batches."""
        self.last_commit = time.perf_counter()
        for batch in batches:
            known = self.ranges.get(batch.partition)
            lo = known.lo if known else batch.offsets.lo
            self.ranges[batch.partition] = Range(lo, batch.offsets.hi)
            self.counts[batch.partition] = self.counts.get(batch.partition, Counts()) + batch.counts
            self.batch_ids.append(batch.batch_id)

    def partitions(self) -> tuple[PartitionReport, ...]:
        """The ranges and terms so far."""
        return tuple(
            PartitionReport(item, self.ranges[item], self.counts[item]) for item in sorted(self.ranges)
        )


def landed_since(
    connection: psycopg.Connection[Any], starts: Mapping[PartitionId, int]
) -> tuple[tuple[PartitionReport, ...], tuple[int, ...]]:
    """What the ledger has beyond some offsets, whoever landed it: reports and batch ids.

    By offset, not by batch id: ids are handed out in blocks, so a later commit may carry a smaller one.
    """
    reports: list[PartitionReport] = []
    batch_ids: list[int] = []
    for partition, start in sorted(starts.items()):
        rows = connection.execute(
            """
            select batch_id, offset_lo, offset_hi, landed, dead_lettered, discarded, tombstones, absent,
                   discarded_values, superseded
            from ops.landing_ledger
            where topic_id = %s and kafka_partition = %s and offset_lo >= %s and offset_hi > offset_lo
            order by offset_lo
            """,
            (partition.topic_id, partition.partition, start),
        ).fetchall()
        if rows:
            counts = sum((Counts(*row[3:]) for row in rows), Counts())
            reports.append(PartitionReport(partition, Range(rows[0][1], rows[-1][2]), counts))
            batch_ids += [int(row[0]) for row in rows]
    return tuple(reports), tuple(sorted(batch_ids))
