"""The proof that nothing is lost and nothing counted twice: ledger against broker, raw tables and lake.

Add a comparison here when another store must agree with the ledger. Avoid repairs: this reads.

The lake is read first, then Postgres in one snapshot, then the broker. Since the lake follows Postgres
and Postgres the broker, landing that goes on meanwhile can't make the three disagree.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import psycopg

from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.lake import LakePosition, PartitionKey
from orchestration.ingest.ledger import Counts
from orchestration.ingest.ledger_stores import (
    RowsPerBatch,
    findings,
    lake_rows,
    open_dead_letters,
    raw_rows,
)
from orchestration.ingest.offsets import CONSUMER, Bounds, PartitionId, Range, broker_bounds
from orchestration.ingest.services import LandingServices
from orchestration.ingest.topics import admin_client

LAKE_MAY_LAG = timedelta(minutes=15)
"""A flush is due after a minute; a lake that is away is tried again every ten seconds."""


class Severity(StrEnum):
    """What a fault means."""

    ERROR = "error"
    """The arithmetic does not hold: nothing downstream may build on this topic."""
    WARNING = "warning"
    """It holds, but a person should know."""


@dataclass(frozen=True)
class Fault:
    """One disagreement, with the place where it is."""

    severity: Severity
    partition: PartitionId
    offsets: Range | None
    message: str

    def __str__(self) -> str:
        where = f" offsets {self.offsets.lo} to {self.offsets.hi}" if self.offsets else ""
        return f"{self.partition}{where} (topic id {self.partition.topic_id}): {self.message}"


@dataclass(frozen=True)
class PartitionBalance:
    """The terms of one partition.

    Attributes:
        partition: Which.
        offsets: From the first offset that was landed to the position.
        counts: Terms of the ledger.
        raw_rows: Rows in `raw.<table>`; those that an earlier check has counted as it counted them.
        lake_rows: The same in `bronze.<table>`; None where the lake was not asked.
        lake_offset: Next offset of the lake; None where it has none.
        pending: Offsets that wait on the broker; None where the broker no longer knows the topic id.
    """

    partition: PartitionId
    offsets: Range
    counts: Counts
    raw_rows: int
    lake_rows: int | None
    lake_offset: int | None
    pending: int | None


@dataclass(frozen=True)
class LedgerReport:
    """Result of a check."""

    balances: tuple[PartitionBalance, ...]
    faults: tuple[Fault, ...]

    @property
    def is_balanced(self) -> bool:
        """Whether no fault is an error."""
        return all(fault.severity is not Severity.ERROR for fault in self.faults)

    @property
    def counts(self) -> Counts:
        """Terms over all partitions."""
        return sum((item.counts for item in self.balances), Counts())


@dataclass(frozen=True)
class _Row:
    batch_id: int
    offsets: Range
    counts: Counts
    age: timedelta
    is_verified: bool = False
    is_retired: bool = False

    @property
    def is_transfer(self) -> bool:
        return self.offsets.lo == self.offsets.hi


@dataclass(frozen=True)
class _Evidence:
    """Everything that is known of one partition."""

    partition: PartitionId
    rows: Sequence[_Row]
    next_offset: int | None
    raw: RowsPerBatch
    lake: RowsPerBatch | None
    lake_position: LakePosition
    bounds: Bounds | None
    open_dead_letters: int
    findings: Sequence[tuple[Range, str]]


def check_ledger(
    services: LandingServices,
    contracts: Mapping[str, TopicContract],
    topics: Sequence[str],
    is_full: bool = True,
) -> LedgerReport:
    """Check some topics, all topic ids that were ever landed included.

    A batch whose rows both stores held is remembered in the ledger, so that a check that is not full
    counts only what is newer. Ranges, terms, positions and dead letters are always checked whole.

    Args:
        services: Addresses.
        contracts: Contracts by topic.
        topics: Topics to check.
        is_full: Count every row again, also those that an earlier check has counted.
    """
    balances: list[PartitionBalance] = []
    faults: list[Fault] = []
    for topic in topics:
        counted: list[int] = []
        for evidence in _gather(services, contracts[topic], is_full):
            balances.append(_balance(evidence))
            found = list(_faults(evidence))
            faults.extend(found)
            if evidence.lake is not None and not any(item.severity is Severity.ERROR for item in found):
                counted += [row.batch_id for row in _in_lake(evidence) if not row.is_verified]
        _remember(services, counted)
    return LedgerReport(tuple(balances), tuple(faults))


def _gather(services: LandingServices, contract: TopicContract, is_full: bool) -> Iterator[_Evidence]:
    first = 0 if is_full else _first_uncounted(services, contract.topic)
    in_lake, lake_position = lake_rows(services, contract, first)
    with psycopg.connect(services.database_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        ledger, offsets = _ledger_rows(connection, contract.topic), _offsets(connection, contract.topic)
        raw = raw_rows(connection, contract.table, first)
        dead, lost = open_dead_letters(connection, contract.topic), findings(connection, contract.topic)
    known = {  # what an earlier check has counted, as it counted it
        (topic_id, number, row.batch_id): row
        for (topic_id, number), rows in ledger.items()
        for row in rows
        if row.is_verified and row.batch_id < first and row.counts.landed
    }
    raw = {**{key: row.counts.landed for key, row in known.items() if not row.is_retired}, **raw}
    if in_lake is not None:
        in_lake = {**{key: row.counts.landed for key, row in known.items()}, **in_lake}
    admin = admin_client(services.bootstrap_servers)
    bounds = broker_bounds(admin, [contract.topic])
    keys: set[PartitionKey] = {(item.topic_id, item.partition) for item in bounds}
    keys |= ledger.keys() | offsets.keys() | {(topic_id, number) for topic_id, number, _ in raw}
    for topic_id, number in sorted(keys):
        partition = PartitionId(contract.topic, topic_id, number)
        yield _Evidence(
            partition=partition,
            rows=ledger.get((topic_id, number), []),
            next_offset=offsets.get((topic_id, number)),
            raw={key: count for key, count in raw.items() if key[:2] == (topic_id, number)},
            lake=None
            if in_lake is None
            else {key: count for key, count in in_lake.items() if key[:2] == (topic_id, number)},
            lake_position=lake_position,
            bounds=bounds.get(partition),
            open_dead_letters=dead.get((topic_id, number), 0),
            findings=lost.get((topic_id, number), []),
        )


def _balance(evidence: _Evidence) -> PartitionBalance:
    key = (evidence.partition.topic_id, evidence.partition.partition)
    ranges = [row.offsets for row in evidence.rows if not row.is_transfer]
    position = evidence.next_offset or 0
    return PartitionBalance(
        partition=evidence.partition,
        offsets=Range(ranges[0].lo if ranges else position, position),
        counts=sum((row.counts for row in evidence.rows), Counts()),
        raw_rows=sum(evidence.raw.values()),
        lake_rows=None if evidence.lake is None else sum(evidence.lake.values()),
        lake_offset=evidence.lake_position.offsets.get(key),
        pending=None if evidence.bounds is None else evidence.bounds.end - position,
    )


def _faults(evidence: _Evidence) -> Iterator[Fault]:
    yield from _ranges(evidence)
    yield from _against_broker(evidence)
    hot = [row for row in evidence.rows if not row.is_retired]
    yield from _against_rows(evidence, "raw table", evidence.raw, hot)
    if evidence.lake is not None:
        yield from _against_rows(evidence, "lake table", evidence.lake, _in_lake(evidence))
    yield from _lake_lag(evidence)
    recorded = sum(row.counts.dead_lettered for row in evidence.rows)
    if recorded != evidence.open_dead_letters:
        text = (
            f"the ledger counts {recorded} dead letters, ops.dead_letters keeps {evidence.open_dead_letters}"
        )
        yield Fault(Severity.ERROR, evidence.partition, None, text)
    for offsets, text in evidence.findings:
        yield Fault(Severity.WARNING, evidence.partition, offsets, text)


def _ranges(evidence: _Evidence) -> Iterator[Fault]:
    """No gap, no overlap, terms that add up, and a position where the ranges end."""
    reached: int | None = None
    for row in evidence.rows:
        if row.counts.span != len(row.offsets):
            text = f"batch {row.batch_id} accounts for {row.counts.span} of {len(row.offsets)} offsets"
            yield Fault(Severity.ERROR, evidence.partition, row.offsets, text)
        if row.is_transfer:
            continue
        if reached is not None and row.offsets.lo != reached:
            kind = "gap" if row.offsets.lo > reached else "overlap"
            span = Range(min(reached, row.offsets.lo), max(reached, row.offsets.lo))
            text = f"{kind} of {len(span)} offsets before batch {row.batch_id}"
            yield Fault(Severity.ERROR, evidence.partition, span, text)
        reached = row.offsets.hi
    if reached is not None and reached != evidence.next_offset:
        text = f"the ledger ends at {reached}, the position is {evidence.next_offset}"
        yield Fault(Severity.ERROR, evidence.partition, None, text)


def _against_broker(evidence: _Evidence) -> Iterator[Fault]:
    bounds, position = evidence.bounds, evidence.next_offset
    first = next((row.offsets.lo for row in evidence.rows if not row.is_transfer), None)
    if first:
        text = "retention had deleted these offsets before the first landing"
        yield Fault(Severity.WARNING, evidence.partition, Range(0, first), text)
    if bounds is None or position is None:
        return
    if position > bounds.end:
        text = f"the broker ends at {bounds.end}: its log was cut or restored from an older copy"
        yield Fault(Severity.ERROR, evidence.partition, Range(bounds.end, position), text)
    if position < bounds.low:
        text = "retention deleted these offsets before they were landed; the next landing accounts for them"
        yield Fault(Severity.WARNING, evidence.partition, Range(position, bounds.low), text)


def _against_rows(
    evidence: _Evidence, store: str, found: RowsPerBatch, rows: Sequence[_Row]
) -> Iterator[Fault]:
    """Rows of a store, batch by batch, so that a fault names the range."""
    expected = {row.batch_id: row for row in rows}
    by_batch = {batch_id: count for (_, _, batch_id), count in found.items()}
    for batch_id in sorted(expected.keys() | by_batch.keys()):
        row, count = expected.get(batch_id), by_batch.get(batch_id, 0)
        if row is None:
            text = (
                f"the {store} holds {count} rows of batch {batch_id}, which the ledger does not place there"
            )
            yield Fault(Severity.ERROR, evidence.partition, None, text)
        elif row.counts.landed != count:
            text = (
                f"the {store} holds {count} rows of batch {batch_id}, the ledger landed {row.counts.landed}"
            )
            yield Fault(Severity.ERROR, evidence.partition, row.offsets, text)


def _in_lake(evidence: _Evidence) -> list[_Row]:
    """Ledger rows that the lake says it holds: what lies beyond its position is still to come."""
    key = (evidence.partition.topic_id, evidence.partition.partition)
    reached, replays = evidence.lake_position.offsets.get(key, 0), evidence.lake_position.replays
    return [
        row
        for row in evidence.rows
        if (row.batch_id <= replays if row.is_transfer else row.offsets.hi <= reached)
    ]


def _lake_lag(evidence: _Evidence) -> Iterator[Fault]:
    """Rows that Postgres has and the lake has not: normal for a minute, a fault when it stands still.

    Replayed rows never age into one: without new messages nothing flushes them before the next landing.
    """
    held = {row.batch_id for row in _in_lake(evidence)} if evidence.lake is not None else set[int]()
    missing = [row for row in evidence.rows if row.counts.landed and row.batch_id not in held]
    if not missing:
        return
    age = max(row.age for row in missing)
    span = Range(min(row.offsets.lo for row in missing), max(row.offsets.hi for row in missing))
    rows = sum(row.counts.landed for row in missing)
    what = "lacks" if evidence.lake is not None else "has no table for"
    text = f"the lake {what} {rows} rows that Postgres has had for up to {age}; the next landing brings them"
    stands_still = any(row.age >= LAKE_MAY_LAG and not row.is_transfer for row in missing)
    severity = Severity.ERROR if stands_still or evidence.lake is None else Severity.WARNING
    yield Fault(severity, evidence.partition, span, text)


def _ledger_rows(connection: psycopg.Connection[Any], topic: str) -> dict[PartitionKey, list[_Row]]:
    rows = connection.execute(
        """
        select topic_id, kafka_partition, batch_id, offset_lo, offset_hi, landed, dead_lettered, discarded,
               tombstones, absent, discarded_values, superseded, date_trunc('second', now() - landed_at),
               verified_at is not null, retired_at is not null
        from ops.landing_ledger where topic = %s
        order by topic_id, kafka_partition, offset_lo, offset_hi
        """,
        (topic,),
    )
    found: dict[PartitionKey, list[_Row]] = {}
    for topic_id, partition, batch_id, lo, hi, *terms, age, is_verified, is_retired in rows:
        row = _Row(batch_id, Range(lo, hi), Counts(*terms), age, is_verified, is_retired)
        found.setdefault((topic_id, partition), []).append(row)
    return found


def _offsets(connection: psycopg.Connection[Any], topic: str) -> dict[PartitionKey, int]:
    rows = connection.execute(
        "select topic_id, kafka_partition, next_offset from ops.consumer_offsets "
        "where consumer = %s and topic = %s",
        (CONSUMER, topic),
    )
    return {(topic_id, partition): offset for topic_id, partition, offset in rows}


def _first_uncounted(services: LandingServices, topic: str) -> int:
    """Lowest batch that no check has counted; beyond all batches where every one was."""
    with psycopg.connect(services.database_url) as connection:
        row = connection.execute(
            """
            select coalesce(min(batch_id) filter (where verified_at is null), max(batch_id) + 1, 0)
            from ops.landing_ledger where topic = %s
            """,
            (topic,),
        ).fetchone()
    assert row is not None
    return int(row[0])


def _remember(services: LandingServices, batch_ids: Sequence[int]) -> None:
    """Write down which batches both stores held row by row."""
    if batch_ids:
        with psycopg.connect(services.database_url) as connection:
            connection.execute(
                "update ops.landing_ledger set verified_at = now() where batch_id = any(%s)",
                (list(batch_ids),),
            )
