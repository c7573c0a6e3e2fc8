"""Rebuilds raw tables, ledger, positions and dead letters in Postgres from the lake alone.

For the day on which Postgres is gone: rows come from the lake's tables, what a ledger row says beside
its rows from their journals. Landing then goes on at the lake's offsets, so Kafka brings what was younger.
Add here what an empty database needs before landing can go on. Avoid keys of personal data: the lake
never has them (`key_backup`).
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg
import pyarrow as pa
from psycopg import sql

from orchestration.ingest.contracts import Direction, TopicContract, arrow_schema, ensure_day_partition
from orchestration.ingest.copy_format import copy_stream
from orchestration.ingest.lake import Lake, position_of, stored_rows
from orchestration.ingest.lake_journal import Kind, LakeJournal
from orchestration.ingest.lake_recovery import find_tables, reserve_numbers
from orchestration.ingest.leases import acquire, topic_lease
from orchestration.ingest.offsets import CONSUMER, LandingError
from orchestration.ingest.postgres_sink import copy_rows
from orchestration.ingest.services import LandingServices

if TYPE_CHECKING:
    from pyiceberg.table import Table

ROWS_AT_ONCE = 100_000  # of 12 columns some 10 MiB as Arrow and 15 MiB on the wire
UNKNOWN_HOLDS = (
    "Postgres came back from the lake, which does not keep legal holds: place again what was in force, then "
    "release this one (`opsgraph hold release`)"
)
BATCH_COLUMNS = ("batch_id", "topic_id", "kafka_partition")


@dataclass(frozen=True)
class Restored:
    """What came back of one topic.

    Attributes:
        topic: Topic.
        rows: Rows of the raw table.
        ledger_rows: Ranges and transfers.
        dead_letters: Refused messages.
        without_ledger: Batches whose ledger row no journal has; their counts were taken from the rows.
        seconds: Wall time.
        was_unknown: Whether the catalog had lost the table and it was found again by its files.
    """

    topic: str
    rows: int
    ledger_rows: int
    dead_letters: int
    without_ledger: int
    seconds: float
    was_unknown: bool


def restore(
    services: LandingServices,
    contracts: Mapping[str, TopicContract],
    topics: Sequence[str] | None = None,
    is_replacing: bool = False,
) -> list[Restored]:
    """Rebuild topics from the lake, each in one transaction.

    The lake does not keep legal holds. Where Postgres has never had one (it was lost, as a rule), a hold on
    everything is placed, so that nothing is forgotten before somebody has looked.

    Args:
        services: Addresses; Kafka is not asked.
        contracts: Contracts by topic.
        topics: Topics; all that are landed by default.
        is_replacing: Delete what Postgres has of a topic first. Otherwise a topic with a ledger is refused.

    Raises:
        LandingError: Postgres has a ledger of a topic or numbers that the topic needs, or somebody lands one
            of the topics. Nothing of it was changed; topics before it have come back.
    """
    chosen = [contracts[topic] for topic in topics] if topics else [
        contract for contract in contracts.values() if contract.direction is Direction.IN
    ]  # fmt: skip
    done = list[Restored]()
    with ExitStack() as leases:
        for contract in chosen:  # all at first: who is landed meanwhile would take numbers of the next one
            lease = acquire(services.database_url, topic_lease(contract.topic), "opsgraph restore")
            if lease is None:
                raise LandingError(
                    f"{contract.topic}: somebody lands it now. Nothing was changed; stop the lander "
                    "(`opsgraph down`, or end `opsgraph land --follow`) and restore again."
                )
            leases.enter_context(lease)
        reserve_numbers(services, contracts)
        entered = find_tables(services, chosen)
        lake = Lake(services.lake_url, services.catalog_uri)
        for contract in chosen:
            if (table := lake.existing_table(contract)) is None:
                continue
            started = time.perf_counter()
            with psycopg.connect(services.database_url) as connection:
                try:
                    rows, counts = _Restoration(connection, contract, table).run(is_replacing)
                except psycopg.errors.UniqueViolation as error:
                    raise _numbers_are_taken(contract, error) from error
            seconds = time.perf_counter() - started
            done.append(Restored(contract.topic, rows, *counts, seconds, contract.table in entered))
    return done


def _numbers_are_taken(contract: TopicContract, error: psycopg.errors.UniqueViolation) -> LandingError:
    return LandingError(
        f"{contract.topic}: Postgres has given numbers to others that its batches or dead letters have in "
        f"the lake ({error.diag.message_detail}), so nothing of it was changed. Something was landed into "
        "the new Postgres before it knew the lake: restore into an empty database, then land that again."
    )


class _Restoration:
    """One topic in one transaction."""

    def __init__(self, connection: psycopg.Connection[Any], contract: TopicContract, table: "Table") -> None:
        self._connection, self._contract, self._table = connection, contract, table
        self._position = position_of(table)
        self._schema = arrow_schema(contract)
        self._days: set[date] = set()
        self._watermarks: dict[tuple[str, bytes, int], datetime] = {}
        self._batches: dict[tuple[int, bytes, int], tuple[int, int, int, datetime]] = {}

    def run(self, is_replacing: bool) -> tuple[int, tuple[int, int, int]]:
        """Bring back everything; gives rows, and (ledger rows, dead letters, batches without ledger row)."""
        self._make_room(is_replacing)
        rows = self._copy_rows()
        self._read_journal()
        ledger = self._insert_ledger()
        without = self._derive_ledger()
        letters = self._insert_letters()
        self._insert_positions()
        return rows, (ledger + without, letters, without)

    def _make_room(self, is_replacing: bool) -> None:
        topic = (self._contract.topic,)
        has_ledger = self._connection.execute(
            "select 1 from ops.landing_ledger where topic = %s limit 1", topic
        ).fetchone()
        if has_ledger and not is_replacing:
            raise LandingError(
                f"{self._contract.topic}: Postgres has a ledger of it, which may be ahead of the lake. "
                "Nothing was changed. `opsgraph ledger check` tells whether it is whole; with "
                "`--replace` the lake's state takes its place, and Kafka must still hold what is younger."
            )
        if not has_ledger:
            self._connection.execute(
                "insert into ops.legal_holds (reason, placed_by) select %s, 'opsgraph restore' "
                "where not exists (select from ops.legal_holds)",
                (UNKNOWN_HOLDS,),
            )
        self._connection.execute(sql.SQL("truncate {}").format(sql.Identifier("raw", self._contract.table)))
        for table in ("landing_ledger", "dead_letters", "landing_findings", "event_watermarks"):
            self._connection.execute(
                sql.SQL("delete from {} where topic = %s").format(sql.Identifier("ops", table)), topic
            )
        self._connection.execute(
            "delete from ops.consumer_offsets where topic = %s and consumer = %s", (*topic, CONSUMER)
        )

    def _copy_rows(self) -> int:
        """Rows as they were: batch, known and landed time are columns of the lake."""
        if self._table.current_snapshot() is None:
            return 0
        count = 0
        for found in stored_rows(self._table, self._schema):
            for start in range(0, found.num_rows, ROWS_AT_ONCE):
                rows = found.slice(start, ROWS_AT_ONCE)
                self._take_note(rows)
                copy_rows(self._connection, self._contract.table, copy_stream(rows))
                count += rows.num_rows
        return count

    def _take_note(self, rows: pa.RecordBatch) -> None:
        frame = pl.DataFrame(pl.from_arrow(rows))
        for day in frame["landed_at"].dt.date().unique():
            if day not in self._days:
                ensure_day_partition(self._connection, self._contract.table, day)
                self._days.add(day)
        happened = pl.min_horizontal(self._contract.event_time_field, "known_at")
        for *key, instant in (
            frame.group_by("tenant_id", "topic_id", "kafka_partition").agg(happened.max()).iter_rows()
        ):
            place = (str(key[0]), bytes(key[1]), int(key[2]))
            self._watermarks[place] = max(self._watermarks.get(place, instant), instant)
        offset = pl.col("kafka_offset")
        for batch_id, topic_id, number, *found in (
            frame.group_by(BATCH_COLUMNS)
            .agg(offset.min().alias("lo"), offset.max().alias("hi"), pl.len(), pl.col("landed_at").first())
            .iter_rows()
        ):
            place = (int(batch_id), bytes(topic_id), int(number))
            lo, hi, count, landed_at = self._batches.get(place, (found[0], found[1], 0, found[3]))
            self._batches[place] = (min(lo, found[0]), max(hi, found[1]), count + found[2], landed_at)

    def _read_journal(self) -> None:
        """The journal's lines into a temporary table, in their order: the later one of a key counts."""
        self._connection.execute(
            "create temp table journal (kind text, place bigint, line jsonb) on commit drop"
        )
        journal, place = LakeJournal(self._table), 0
        with self._connection.cursor() as cursor, cursor.copy("copy journal from stdin") as copy:
            for kind in Kind:
                for path in journal.paths(kind):
                    for line in journal.lines(path):
                        copy.write_row((kind.value, place, line))
                        place += 1

    def _insert_ledger(self) -> int:
        """Ledger rows whose rows the lake has; of later ones those without rows that follow at once."""
        self._connection.execute(
            """
            create temp table kept on commit drop as
            select distinct on (r.batch_id) r.*
            from journal as j, jsonb_populate_record(null::ops.landing_ledger, j.line) as r
            where j.kind = 'landing_ledger' and r.topic = %s
            order by r.batch_id, j.place desc
            """,
            (self._contract.topic,),
        )
        self._connection.execute(
            "create temp table reached (topic_id uuid, kafka_partition int, next_offset bigint) "
            "on commit drop"
        )
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "insert into reached values (%s, %s, %s)",
                [(topic_id, number, offset) for (topic_id, number), offset in self._position.offsets.items()],
            )
        return self._connection.execute(
            """
            with recursive beyond as (
                select topic_id, kafka_partition, next_offset from reached
                union all
                select k.topic_id, k.kafka_partition, k.offset_hi
                from beyond as b
                inner join kept as k on k.topic_id = b.topic_id and k.kafka_partition = b.kafka_partition
                    and k.offset_lo = b.next_offset and k.offset_hi > k.offset_lo and k.landed = 0
            ),
            ends as (
                select topic_id, kafka_partition, max(next_offset) as next_offset from beyond group by 1, 2
                union all  -- partitions of which no row was ever landed
                select k.topic_id, k.kafka_partition, min(k.offset_lo) + sum(k.offset_hi - k.offset_lo)
                from kept as k
                where not exists (select from reached as r where r.topic_id = k.topic_id
                    and r.kafka_partition = k.kafka_partition)
                group by 1, 2 having sum(k.landed) = 0
            )
            insert into ops.landing_ledger
            select k.* from kept as k
            left join ends as e on e.topic_id = k.topic_id and e.kafka_partition = k.kafka_partition
            where case when k.offset_hi = k.offset_lo then k.batch_id <= %s
                else k.offset_hi <= e.next_offset end
            """,
            (self._position.replays,),
        ).rowcount

    def _derive_ledger(self) -> int:
        """Batches that no journal names: offsets without a row are counted as absent, and that is said."""
        known = self._connection.execute(
            "select batch_id, topic_id, kafka_partition, offset_hi from ops.landing_ledger where topic = %s",
            (self._contract.topic,),
        ).fetchall()
        reached: dict[tuple[uuid.UUID, int], int] = {}
        for _, topic_id, number, hi in known:
            reached[topic_id, number] = max(reached.get((topic_id, number), 0), hi)
        there = {row[0] for row in known}
        lacking = sorted(
            (uuid.UUID(bytes=topic_id), number, lo, hi + 1, count, landed_at, batch_id)
            for (batch_id, topic_id, number), (lo, hi, count, landed_at) in self._batches.items()
            if batch_id not in there
        )
        for topic_id, number, lo, hi, count, landed_at, batch_id in lacking:
            end = reached.get((topic_id, number), lo)
            # Rows before the end of what is known came by a replay: they take as many dead letters away.
            span, replayed = ((lo, lo), count) if lo < end else ((end, hi), 0)
            absent = span[1] - span[0] - count + replayed
            reached[topic_id, number] = max(end, span[1])
            place = (batch_id, self._contract.topic, topic_id, number, *span)
            self._connection.execute(
                """
                insert into ops.landing_ledger (batch_id, topic, topic_id, kafka_partition, offset_lo,
                    offset_hi, landed, dead_lettered, absent, landed_at, run_id)
                values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'restore')
                """,
                (*place, count, -replayed, absent, landed_at),
            )
            text = (
                f"{self._contract.topic}[{number}]: the journal of the lake lacks batch {batch_id}; its "
                f"{absent} offsets without a row count as absent, whatever they were"
            )
            self._connection.execute(
                """
                insert into ops.landing_findings (batch_id, topic, topic_id, kafka_partition, offset_lo,
                    offset_hi, kind, message) values (%s, %s, %s, %s, %s, %s, 'restored_without_ledger', %s)
                """,
                (*place, text),
            )
        return len(lacking)

    def _insert_letters(self) -> int:
        """Dead letters and findings of the ranges that came back; a replay that did not is open again."""
        self._connection.execute(
            """
            insert into ops.landing_findings (batch_id, topic, topic_id, kafka_partition, offset_lo,
                offset_hi, kind, message, found_at)
            select r.batch_id, r.topic, r.topic_id, r.kafka_partition, r.offset_lo, r.offset_hi, r.kind,
                r.message, r.found_at
            from (
                select distinct on (r.finding_id) r.*
                from journal as j, jsonb_populate_record(null::ops.landing_findings, j.line) as r
                where j.kind = 'landing_findings' order by r.finding_id, j.place desc
            ) as r
            inner join ops.landing_ledger as l on l.batch_id = r.batch_id
            """
        )
        letters = self._connection.execute(
            """
            insert into ops.dead_letters overriding system value
            select r.* from (
                select distinct on (r.dead_letter_id) r.*
                from journal as j, jsonb_populate_record(null::ops.dead_letters, j.line) as r
                where j.kind = 'dead_letters' order by r.dead_letter_id, j.place desc
            ) as r
            inner join ops.landing_ledger as l on l.batch_id = r.batch_id
            """
        ).rowcount
        self._connection.execute(
            """
            update ops.dead_letters as d set replayed_at = null, replay_batch_id = null
            where d.topic = %s and d.replay_batch_id is not null
                and not exists (select from ops.landing_ledger as l where l.batch_id = d.replay_batch_id)
            """,
            (self._contract.topic,),
        )
        return letters

    def _insert_positions(self) -> None:
        """Landing goes on where the ledger ends, or, where it has no range, where the lake does."""
        self._connection.execute(
            """
            insert into ops.consumer_offsets (consumer, topic, topic_id, kafka_partition, next_offset)
            select %(consumer)s, %(topic)s, topic_id, kafka_partition, max(next_offset)
            from (
                select topic_id, kafka_partition, next_offset from reached
                union all
                select topic_id, kafka_partition, offset_hi from ops.landing_ledger
                where topic = %(topic)s and offset_hi > offset_lo
            ) as ends group by topic_id, kafka_partition
            """,
            {"consumer": CONSUMER, "topic": self._contract.topic},
        )
        with self._connection.cursor() as cursor:
            cursor.executemany(
                """
                insert into ops.event_watermarks (tenant_id, topic, topic_id, kafka_partition, max_event_at)
                values (%s, %s, %s, %s, %s)
                """,
                [
                    (tenant, self._contract.topic, uuid.UUID(bytes=topic_id), number, instant.astimezone(UTC))
                    for (tenant, topic_id, number), instant in sorted(self._watermarks.items())
                ],
            )
