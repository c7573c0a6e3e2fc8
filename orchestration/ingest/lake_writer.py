"""Carries committed batches into one lake table: files by size and age, snapshots with offsets.

The lake never goes ahead of Postgres: it is given batches after their commit, and what it missed
(a crash, an outage, another lander) it reads back from `raw` by batch id. Add here what concerns
files and snapshots. Avoid table definitions: `lake` has them.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.ingest.batch import Batch
from orchestration.ingest.contracts import TopicContract, arrow_schema
from orchestration.ingest.lake import Lake, LakePosition, PartitionKey, position_of
from orchestration.ingest.lake_files import LakeFiles
from orchestration.ingest.lake_journal import LakeJournal, lock_table
from orchestration.ingest.offsets import LandingError, Range

if TYPE_CHECKING:
    from pyiceberg.table import Table

RECOVERY_ROWS = 500_000  # rows that are read back from Postgres per file
GROUP_ROWS = 50_000  # of a row group at least; a service commits some hundred rows at a time
CONSTANT_COLUMNS = {"batch_id", "topic_id", "kafka_partition", "known_at", "landed_at"}
COLUMN_ENCODING = {"kafka_offset": "DELTA_BINARY_PACKED"}
COMPRESSION_LEVEL = 1  # 2.4 million rows/s; level 3 saves 6 % of the bytes for half of the speed


class LakeBehindError(LandingError):
    """A batch does not begin where the lake's table ends: the table must catch up from Postgres first."""


@dataclass(frozen=True)
class FlushSettings:
    """When rows become a file and a snapshot. Small commits would make millions of files.

    Attributes:
        size: Bytes of rows in memory's layout; about a third of it on disk.
        age_s: Seconds since the first row.
    """

    size: int = 256 * 1024 * 1024
    age_s: float = 60.0


@dataclass(frozen=True)
class _Committed:
    """A ledger row whose rows the lake lacks."""

    batch_id: int
    key: PartitionKey
    offsets: Range
    landed: int
    landed_on: date


class LakeWriter:
    """Writer of one table. One writer per table at a time: the lander's lease sees to that."""

    def __init__(
        self,
        lake: Lake,
        contract: TopicContract,
        database_url: str,
        flush: FlushSettings,
        partitions: Collection[int] | None = None,
    ) -> None:
        """Open the table and remove files of flushes that never committed.

        Args:
            lake: The catalog.
            contract: Contract of the topic.
            database_url: `postgresql://…` of ledger and raw tables.
            flush: When a file is due.
            partitions: Partitions that this lander has while others land the rest; None stands for all.
                Then files without a snapshot may be another lander's, and are left to upkeep.
        """
        self._partitions = partitions
        self._flush_settings = flush
        self._contract = contract
        self._database_url = database_url
        self._schema = arrow_schema(contract)
        # Constant within a batch, or few distinct values: a third of the time and bytes of plain values.
        self._dictionary: Any = [
            item.name
            for item in self._schema
            if item.name in CONSTANT_COLUMNS or pa.types.is_string(item.type)
        ]
        self._table: Table = lake.table(contract)
        self._files = LakeFiles(self._table)
        self._journal = LakeJournal(self._table)
        if partitions is None:
            self._files.remove_orphans()
        self._position = position_of(self._table)
        self._reached: dict[PartitionKey, int] = dict(self._position.offsets)
        self._replays = self._position.replays
        self._recorded = self._journal_position()  # never behind the rows
        self._open: pq.ParquetWriter | None = None
        self._sink: Any = None
        self._open_path = ""
        self._open_day: date | None = None
        self._finished: list[str] = []
        self._group: list[pa.RecordBatch] = []
        self._group_rows = 0
        self._bytes = 0
        self._rows = 0
        self._since: float | None = None

    @property
    def position(self) -> LakePosition:
        """What the table's current snapshot holds."""
        return self._position

    def append(self, batch: Batch) -> None:
        """Take a batch that Postgres has committed.

        Raises:
            LakeBehindError: Batches before it are missing; call `catch_up`.
        """
        key = (batch.partition.topic_id, batch.partition.partition)
        expected = self._reached.get(key)
        if expected is None:
            expected = self._first_offset(batch)
        if expected != batch.offsets.lo:
            raise LakeBehindError(
                f"{batch.partition}: the lake ends at offset {expected}, "
                f"the batch begins at {batch.offsets.lo}"
            )
        if batch.rows.num_rows:
            self._write(batch.rows, batch.landed_at.astimezone(UTC).date())
        elif batch.dead_letters and self._since is None:
            self._since = time.monotonic()
        self._reached[key] = batch.offsets.hi

    def _first_offset(self, batch: Batch) -> int:
        """Where the ledger of a partition begins of which the lake has nothing; asked once per partition."""
        with psycopg.connect(self._database_url) as connection:
            row = connection.execute(
                "select min(offset_lo) from ops.landing_ledger "
                "where topic = %s and topic_id = %s and kafka_partition = %s and offset_hi > offset_lo",
                (batch.partition.topic, batch.partition.topic_id, batch.partition.partition),
            ).fetchone()
        return batch.offsets.lo if row is None or row[0] is None else int(row[0])

    def is_due(self) -> bool:
        """Whether size or age ask for a flush."""
        if self._since is None:
            return False
        return self._bytes >= self._flush_settings.size or self._age() >= self._flush_settings.age_s

    def _age(self) -> float:
        return time.monotonic() - self._since if self._since is not None else 0.0

    def flush(self) -> int:
        """Make what was taken visible as one snapshot.

        Returns:
            Rows of the snapshot; 0 where there was nothing to add.

        Raises:
            LandingError: Another writer has changed the table's position since.
        """
        with psycopg.connect(self._database_url) as connection:
            # Landers that share the topic commit one after the other: a snapshot carries the offsets of all.
            lock_table(connection, self._contract.table)
            return self._flush(connection)

    def _flush(self, connection: psycopg.Connection[Any]) -> int:
        if self._partitions is not None:
            self._table.refresh()
            self._replays = position_of(self._table).replays
        self._take_replays(connection)
        if not self._rows:  # no snapshot, but refused messages are kept all the same
            self._since = None
            self._record(connection, self._reaching(self._position))
            return 0
        self._close_file()
        self._table.refresh()
        current = position_of(self._table)
        if self._own(current) != self._own(self._position):
            self.abandon()
            raise LandingError(
                f"lake table {self._contract.table}: another lander has moved its offsets. The rows are safe "
                "in Postgres; the next landing compares both and catches up."
            )
        position = self._reaching(current)
        self._record(connection, position)
        # If the catalog's answer is lost, its snapshot may name these files: `abandon` must not touch them.
        # Those that no snapshot names are removed when the table is opened again.
        files, self._finished = self._finished, []
        self._table.add_files(
            [self._files.url(path) for path in files],
            snapshot_properties=position.properties(),
            check_duplicate_files=False,  # the names are fresh UUIDs; the check reads every manifest
        )
        rows, self._position = self._rows, position
        self._rows, self._bytes, self._since = 0, 0, None
        return rows

    def _reaching(self, current: LakePosition) -> LakePosition:
        own = {key: offset for key, offset in self._reached.items() if self._owns(key)}
        return LakePosition({**current.offsets, **own}, self._replays)

    def _record(self, connection: psycopg.Connection[Any], position: LakePosition) -> None:
        if position != self._recorded:
            self._journal.record(connection, self._contract.topic, self._recorded, position)
            self._recorded = position

    def abandon(self) -> None:
        """Let go of everything that no snapshot holds; the table is as before."""
        with suppress(OSError):
            self._close_file()
        self._open, self._group, self._group_rows = None, [], 0  # a full disk does not let a file be closed
        for path in self._finished:
            with suppress(OSError):
                self._files.remove(path)
        self._finished, self._rows, self._bytes, self._since = [], 0, 0, None
        self._reached, self._replays = dict(self._position.offsets), self._position.replays
        self._recorded = self._journal_position()

    def _journal_position(self) -> LakePosition:
        """How far the journal has come for certain: while no row has landed, no snapshot says it."""
        return self._journal.position() if self._table.current_snapshot() is None else self._position

    def catch_up(self) -> int:
        """Read back from Postgres what the ledger has beyond the lake's offsets, and flush it.

        Returns:
            Rows that were added.
        """
        self.abandon()
        added = 0
        with psycopg.connect(self._database_url) as connection:
            missing = _beyond(connection, self._contract.topic, self._position)
            for group in _grouped(item for item in missing if self._owns(item.key)):
                for day in sorted({item.landed_on for item in group}):
                    ids = [item.batch_id for item in group if item.landed_on == day and item.landed]
                    if ids:
                        self._read_back(ids, day)
                for item in group:
                    self._reached[item.key] = max(self._reached.get(item.key, 0), item.offsets.hi)
                added += self.flush()
        return added + self.flush()

    def _owns(self, key: PartitionKey) -> bool:
        return self._partitions is None or key[1] in self._partitions

    def _own(self, position: LakePosition) -> LakePosition:
        """The part of a position that nobody but this lander may move."""
        if self._partitions is None:
            return position
        return LakePosition({key: offset for key, offset in position.offsets.items() if self._owns(key)})

    def _take_replays(self, connection: psycopg.Connection[Any]) -> None:
        """Add the rows of dead letters that were replayed: they lie before the lake's offsets."""
        rows = connection.execute(
            """
            select batch_id, (landed_at at time zone 'UTC')::date
            from ops.landing_ledger
            where topic = %s and offset_hi = offset_lo and batch_id > %s
            order by batch_id
            """,
            (self._contract.topic, self._replays),
        ).fetchall()
        for batch_id, day in rows:
            self._read_back([batch_id], day)
            self._replays = batch_id

    def _read_back(self, batch_ids: list[int], day: date) -> None:
        for rows in read_raw(self._database_url, self._contract, batch_ids, day):
            self._write(rows, day)

    def _write(self, rows: pa.RecordBatch, day: date) -> None:
        if self._open is not None and self._open_day != day:
            self._close_file()
        if self._open is None:
            self._open_path = self._files.new_path(day)
            self._open_day = day
            self._sink = self._files.open(self._open_path)
            self._open = pq.ParquetWriter(
                self._sink, self._schema,
                compression="zstd", compression_level=COMPRESSION_LEVEL,
                use_dictionary=self._dictionary, column_encoding=COLUMN_ENCODING,
            )  # fmt: skip
        self._group.append(rows)
        self._group_rows += rows.num_rows
        if self._group_rows >= GROUP_ROWS:
            self._end_group()
        self._rows += rows.num_rows
        self._bytes += rows.nbytes
        if self._since is None:
            self._since = time.monotonic()

    def _end_group(self) -> None:
        if self._group_rows and self._open is not None:
            self._open.write_table(pa.Table.from_batches(self._group), row_group_size=self._group_rows)
        self._group, self._group_rows = [], 0

    def _close_file(self) -> None:
        if self._open is None:
            return
        self._end_group()
        writer, self._open = self._open, None
        writer.close()
        self._sink.close()  # an object store shows an object only when its stream has ended
        self._finished.append(self._files.publish(self._open_path))


def _beyond(connection: psycopg.Connection[Any], topic: str, position: LakePosition) -> Iterator[_Committed]:
    keys = list(position.offsets)
    rows = connection.execute(
        """
        select l.batch_id, l.topic_id, l.kafka_partition, l.offset_lo, l.offset_hi, l.landed,
               (l.landed_at at time zone 'UTC')::date
        from ops.landing_ledger as l
        left join unnest(%s::uuid[], %s::int[], %s::bigint[]) as p (topic_id, kafka_partition, next_offset)
            on l.topic_id = p.topic_id and l.kafka_partition = p.kafka_partition
        where l.topic = %s and l.offset_hi > l.offset_lo and l.offset_lo >= coalesce(p.next_offset, 0)
        order by l.topic_id, l.kafka_partition, l.offset_lo
        """,
        (
            [topic_id for topic_id, _ in keys], [partition for _, partition in keys],
            list(position.offsets.values()), topic,
        ),
    )  # fmt: skip
    for batch_id, topic_id, partition, lo, hi, landed, day in rows:
        yield _Committed(batch_id, (topic_id, partition), Range(lo, hi), landed, day)


def _grouped(items: Iterator[_Committed]) -> Iterator[list[_Committed]]:
    """Groups of bounded size, each of which becomes one flush."""
    group: list[_Committed] = []
    rows = 0
    for item in items:
        group.append(item)
        rows += item.landed
        if rows >= RECOVERY_ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def read_raw(
    database_url: str, contract: TopicContract, batch_ids: list[int], day: date
) -> Iterator[pa.RecordBatch]:
    """Rows of some batches as Arrow, in the order of their offsets.

    Args:
        database_url: `postgresql://…` of the raw tables.
        contract: Contract of the topic.
        batch_ids: Batches that were landed on `day`.
        day: Day in UTC; it restricts the query to one partition of the raw table.
    """
    from adbc_driver_postgresql import dbapi

    schema = arrow_schema(contract)
    columns = ", ".join(
        f"uuid_send({name}) as {name}" if name == "topic_id" else f'"{name}"' for name in schema.names
    )
    ids = ", ".join(str(int(item)) for item in batch_ids)
    query = (
        f'select {columns} from raw."{contract.table}" '  # noqa: S608 - names come from the contract
        f"where batch_id in ({ids}) and landed_at >= '{day} 00:00:00+00' "
        f"and landed_at < '{day} 00:00:00+00'::timestamptz + interval '1 day' "
        "order by topic_id, kafka_partition, kafka_offset"
    )
    with dbapi.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        for rows in cursor.fetch_record_batch():
            if rows.num_rows:
                arrays = [array.cast(item.type) for array, item in zip(rows.columns, schema, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
