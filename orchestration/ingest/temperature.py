"""Where days of rows are kept: hot (raw and lake), warm (lake alone), cold (the lake's archived prefix).

A day leaves the hot store only when the lake holds every row of it, counted batch by batch at that moment,
and when everybody who reads raw has taken it. Nothing is deleted for good here: the ledger counts the rows
on, and `opsgraph reland TOPIC --since … --until … --source lake` makes a day hot again. Add a condition
here when another reader must have finished. Avoid what really goes: `retention` decides that.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg
from psycopg import sql

from orchestration.ingest.contracts import Direction, TopicContract
from orchestration.ingest.contracts.ddl import RAW_SCHEMA, partition_name
from orchestration.ingest.lake import Lake
from orchestration.ingest.lake_upkeep import archive_day, days_to_archive
from orchestration.ingest.offsets import CONSUMER
from orchestration.ingest.retention import Hold, holds
from orchestration.ingest.services import LandingServices
from orchestration.ingest.topic_health import observe

if TYPE_CHECKING:
    from pyiceberg.table import Table

LOCK_WAIT = "5s"  # dropping a partition needs the table for itself, for a moment


@dataclass(frozen=True)
class Move:
    """One day of a topic that is old enough to move.

    Attributes:
        topic: Topic.
        day: Day of landing in UTC.
        target: `warm` or `cold`.
        rows: Rows of the day.
        held: Why it stays where it is; empty where it may move.
        is_done: Whether it has moved.
    """

    topic: str
    day: date
    target: str
    rows: int
    held: tuple[str, ...]
    is_done: bool = False


def move_days(
    services: LandingServices,
    contracts: Mapping[str, TopicContract],
    hot: timedelta | None,
    warm: timedelta | None,
    is_dry_run: bool,
    now: datetime | None = None,
) -> list[Move]:
    """Move what is old enough and held by nothing.

    Args:
        services: Addresses.
        contracts: Contracts by topic.
        hot: Age in days of landing from which rows leave Postgres; None keeps them.
        warm: Age from which the lake's files move to the archived prefix; None keeps them.
        is_dry_run: Say what would move, and why something is held, and change nothing.
        now: Instant that ages are counted from; by default the present.
    """
    today = (now or datetime.now(UTC)).date()
    lake = Lake(services.lake_url, services.catalog_uri)
    moves: list[Move] = []
    for contract in contracts.values():
        if contract.direction is not Direction.IN:
            continue
        if hot is not None:
            moves += _cool(services, lake, contract, today - hot, is_dry_run)
        table = lake.existing_table(contract)
        if warm is not None and table is not None:
            for day, rows in days_to_archive(table, today - warm):
                move = Move(contract.topic, day, "cold", rows, ())
                moves.append(move if is_dry_run else _archive(table, contract, move))
    return moves


def _archive(table: "Table", contract: TopicContract, move: Move) -> Move:
    from pyiceberg.exceptions import CommitFailedException

    try:
        archive_day(table, contract, move.day)
    except CommitFailedException:
        table.refresh()
        return _held(move, "a lander committed meanwhile; the next run takes it")
    return replace(move, is_done=True)


def _cool(
    services: LandingServices, lake: Lake, contract: TopicContract, before: date, is_dry_run: bool
) -> Iterator[Move]:
    with psycopg.connect(services.database_url) as connection:
        days = [day for day in _hot_days(connection, contract) if day < before]
    for day in days:
        with psycopg.connect(services.database_url) as connection:
            move = _judge(connection, lake, contract, day)
            if not move.held and not is_dry_run:
                observe(connection, contract)
                move = _drop(connection, contract, move)
        yield move


def _hot_days(connection: psycopg.Connection[Any], contract: TopicContract) -> list[date]:
    """Days that have a partition of the raw table."""
    rows = connection.execute(
        """
        select c.relname from pg_inherits as i inner join pg_class as c on c.oid = i.inhrelid
        where i.inhparent = %s::regclass order by 1
        """,
        (f"{RAW_SCHEMA}.{contract.table}",),
    ).fetchall()
    prefix = f"{contract.table}_p"
    return [
        datetime.strptime(name.removeprefix(prefix), "%Y%m%d").replace(tzinfo=UTC).date() for (name,) in rows
    ]


def _judge(connection: psycopg.Connection[Any], lake: Lake, contract: TopicContract, day: date) -> Move:
    ledger = {
        int(batch_id): int(landed)
        for batch_id, landed in connection.execute(
            """
            select batch_id, landed from ops.landing_ledger
            where topic = %s and landed > 0 and retired_at is null
                and landed_at >= %s and landed_at < %s
            """,
            (contract.topic, *_span(day)),
        )
    }
    partition = sql.Identifier(RAW_SCHEMA, partition_name(contract.table, day))
    raw = {
        int(batch_id): int(count)
        for batch_id, count in connection.execute(
            sql.SQL("select batch_id, count(*) from {} group by 1").format(partition)
        )
    }
    held = [
        *_differences("raw", raw, ledger),
        *_differences("the lake", _in_lake(lake, contract, day), ledger),
        *_unfinished(connection, contract, sorted(ledger)),
        *_legal(connection, partition, holds(connection)),
    ]
    return Move(contract.topic, day, "warm", sum(raw.values()), tuple(held))


def _span(day: date) -> tuple[datetime, datetime]:
    start = datetime.combine(day, time(), UTC)
    return start, start + timedelta(days=1)


def _in_lake(lake: Lake, contract: TopicContract, day: date) -> dict[int, int]:
    table = lake.existing_table(contract)
    if table is None:
        return {}
    start, end = _span(day)
    of_day = f"landed_at >= '{start.isoformat()}' and landed_at < '{end.isoformat()}'"
    counted: dict[int, int] = {}
    for rows in table.scan(row_filter=of_day, selected_fields=("batch_id",)).to_arrow_batch_reader():
        for batch_id, count in pl.Series(rows.column("batch_id")).value_counts().iter_rows():
            counted[batch_id] = counted.get(batch_id, 0) + count
    return counted


def _differences(store: str, found: Mapping[int, int], ledger: Mapping[int, int]) -> list[str]:
    wrong = [
        batch_id for batch_id in found.keys() | ledger.keys() if found.get(batch_id) != ledger.get(batch_id)
    ]
    if not wrong:
        return []
    first = min(wrong)
    return [
        f"{store} holds {found.get(first, 0):,} rows of batch {first}, the ledger {ledger.get(first, 0):,} "
        f"({len(wrong)} batches differ)"
    ]


def _unfinished(
    connection: psycopg.Connection[Any], contract: TopicContract, batch_ids: Sequence[int]
) -> Iterator[str]:
    """Readers of raw that have not taken all of these batches, and of the topic that stand before them."""
    row = connection.execute("select to_regclass('intermediate.processed_batches') is not null").fetchone()
    if row and row[0]:
        models = connection.execute(
            """
            select p.model_name, count(*) filter (where p.batch_id = any(%(ids)s))
            from intermediate.processed_batches as p
            inner join ops.landing_ledger as l on l.batch_id = p.batch_id and l.topic = %(topic)s
            group by 1 order by 1
            """,
            {"topic": contract.topic, "ids": list(batch_ids)},
        ).fetchall()
        for model, taken in models:
            if taken < len(batch_ids):
                yield f"{model} has built in {taken} of {len(batch_ids)} batches"
    elif contract.table != "raw_logs":
        yield "the warehouse was never built from it"
    others = connection.execute(
        """
        select o.consumer, o.kafka_partition, o.next_offset, max(l.offset_hi)
        from ops.consumer_offsets as o
        inner join ops.landing_ledger as l
            on l.topic_id = o.topic_id and l.kafka_partition = o.kafka_partition
        where o.topic = %s and o.consumer <> %s and l.batch_id = any(%s)
        group by 1, 2, 3 having o.next_offset < max(l.offset_hi)
        """,
        (contract.topic, CONSUMER, list(batch_ids)),
    )
    for consumer, number, reached, end in others:
        yield f"consumer {consumer} stands at offset {reached} of partition {number}, the day ends at {end}"


def _legal(
    connection: psycopg.Connection[Any], partition: sql.Identifier, in_force: Sequence[Hold]
) -> Iterator[str]:
    """Holds keep everything where it is: whoever asked for one must find it there."""
    for hold in in_force:
        query = sql.SQL(
            "select exists (select from {} where %(tenant)s::text is null or tenant_id = %(tenant)s)"
        )
        row = connection.execute(query.format(partition), {"tenant": hold.tenant_id}).fetchone()
        if row and row[0]:
            yield f"legal hold {hold.hold_id}: {hold.reason}"


def _drop(connection: psycopg.Connection[Any], contract: TopicContract, move: Move) -> Move:
    """Let the day's partition go in one transaction with the ledger's note of it."""
    parent = sql.Identifier(RAW_SCHEMA, contract.table)
    partition = sql.Identifier(RAW_SCHEMA, partition_name(contract.table, move.day))
    try:
        with connection.transaction():
            connection.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(LOCK_WAIT)))
            connection.execute(sql.SQL("lock table {} in access exclusive mode").format(parent))
            count = connection.execute(sql.SQL("select count(*) from {}").format(partition)).fetchone()
            if count is None or count[0] != move.rows:
                return _held(move, "rows came while it was counted; the next run takes it")
            connection.execute(sql.SQL("drop table {}").format(partition))
            connection.execute(
                """
                update ops.landing_ledger set retired_at = now()
                where topic = %s and landed > 0 and landed_at >= %s and landed_at < %s
                """,
                (contract.topic, *_span(move.day)),
            )
    except psycopg.errors.LockNotAvailable:
        return _held(move, f"the table was in use for {LOCK_WAIT}; the next run takes it")
    return replace(move, is_done=True)


def _held(move: Move, reason: str) -> Move:
    return replace(move, held=(reason,))
