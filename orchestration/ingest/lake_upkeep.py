"""Care of the lake: few and sorted files per day, and no more old snapshots than are wanted.

Upkeep never changes rows or positions: every snapshot that it makes carries the offsets of the one before.
A lander that commits at the same time wins; upkeep drops its files and comes back. Add care of files here.
Avoid writing new rows: `lake_writer` does that.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.ingest.contracts import Direction, TopicContract
from orchestration.ingest.lake import OFFSETS, Lake, position_of, sort_columns
from orchestration.ingest.lake_files import DATA_DIR, LakeFiles
from orchestration.ingest.lake_files import PREFIX as LANDED
from orchestration.ingest.lake_journal import LakeJournal, lock_table
from orchestration.ingest.leases import acquire
from orchestration.ingest.services import LandingServices

if TYPE_CHECKING:
    from pyiceberg.table import Table

PREFIX = "compacted-"
ARCHIVE = "archive"  # beside the folder of data: a rule of the object store can move it to cold storage
MAX_FILES_PER_DAY = 8  # a day of 256 MiB flushes stays below; a day of a flush per minute has 1,440
ROWS_PER_FILE = 1_000_000  # about 40 MiB on disk and 250 MiB while it is sorted
KEPT_SNAPSHOTS = timedelta(days=7)
SETTLED = timedelta(days=1)  # a flush takes seconds; after a day its file has a snapshot or never will
UPKEEP_LEASE = "lake-upkeep"


@dataclass(frozen=True)
class Upkeep:
    """What was done to one table.

    Attributes:
        table: Raw and lake table.
        files_before: Data files of the current snapshot before.
        files_after: The same afterwards.
        days: Days that were rewritten.
        expired: Snapshots that were dropped.
        skipped: Why nothing was rewritten; empty where all went well.
    """

    table: str
    files_before: int
    files_after: int
    days: tuple[date, ...]
    expired: int
    skipped: str = ""


def keep_up(
    services: LandingServices,
    contracts: Mapping[str, TopicContract],
    topics: Sequence[str] | None = None,
    kept: timedelta = KEPT_SNAPSHOTS,
    now: datetime | None = None,
) -> list[Upkeep]:
    """Compact what has too many files, and expire old snapshots, table by table.

    Args:
        services: Addresses.
        contracts: Contracts by topic.
        topics: Topics; all that are landed by default.
        kept: Age up to which snapshots stay readable.
        now: Instant that ages are counted from; by default the present.
    """
    lake = Lake(services.lake_url, services.catalog_uri)
    done: list[Upkeep] = []
    lease = acquire(services.database_url, UPKEEP_LEASE, "lake upkeep")
    if lease is None:
        return [Upkeep("every table", 0, 0, (), 0, "another upkeep is at work")]
    with lease:
        for topic in topics or [c.topic for c in contracts.values() if c.direction is Direction.IN]:
            table = lake.existing_table(contracts[topic])
            if table is not None:
                with psycopg.connect(services.database_url) as connection:
                    lock_table(connection, contracts[topic].table)
                    LakeJournal(table).merge()
                done.append(_keep_up_table(table, contracts[topic], kept, now or datetime.now(UTC)))
    return done


def _keep_up_table(table: "Table", contract: TopicContract, kept: timedelta, now: datetime) -> Upkeep:
    from pyiceberg.exceptions import CommitFailedException

    LakeFiles(table).remove_unnamed(PREFIX)
    before = _files_by_day(table)
    crowded = [day for day, (files, rows) in sorted(before.items()) if files > _files_wanted(rows)]
    rewritten: list[date] = []
    skipped = ""
    for day in crowded:
        try:
            _compact(table, contract, day)
            rewritten.append(day)
        except CommitFailedException:
            skipped = f"a lander committed while {day} was rewritten; the next upkeep takes it"
            table.refresh()
    expired = _expire(table, now - kept)
    # Files of a snapshot that has expired. A lander's file of today may wait for its snapshot.
    LakeFiles(table).remove_unnamed(LANDED, now - SETTLED)
    after = sum(files for files, _ in _files_by_day(table).values())
    files_before = sum(files for files, _ in before.values())
    return Upkeep(contract.table, files_before, after, tuple(rewritten), expired, skipped)


def _files_wanted(rows: int) -> int:
    """How many files a day may have: one more than a rewriting makes, but no fewer than are harmless."""
    return max(MAX_FILES_PER_DAY, rows // ROWS_PER_FILE + 2)


def _files_by_day(table: "Table") -> dict[date, tuple[int, int]]:
    """Files and rows of each day."""
    if table.current_snapshot() is None:
        return {}
    partitions = table.inspect.partitions().select(["partition", "file_count", "record_count"]).to_pylist()
    return {
        row["partition"]["landed_on"]: (int(row["file_count"]), int(row["record_count"]))
        for row in partitions
    }


def days_to_archive(table: "Table", before: date) -> list[tuple[date, int]]:
    """Days before a day that have files outside of the archived prefix, with their rows."""
    if table.current_snapshot() is None:
        return []
    outside: dict[date, int] = {}
    for row in table.inspect.files().select(["file_path", "partition", "record_count"]).to_pylist():
        day = row["partition"]["landed_on"]
        if day < before:
            is_archived = f"/{ARCHIVE}/" in row["file_path"]
            outside[day] = outside.get(day, 0) + (0 if is_archived else int(row["record_count"]))
    return sorted((day, rows) for day, rows in outside.items() if rows)


def archive_day(table: "Table", contract: TopicContract, day: date) -> None:
    """Rewrite one day as sorted files below the archived prefix, which a cheaper class of storage may take.

    The table, its offsets and its rows stay as they are; the old files go when their snapshots expire.

    Args:
        table: The lake table.
        contract: Its contract.
        day: Day of landing in UTC.

    Raises:
        CommitFailedException: A lander committed meanwhile; nothing was changed.
    """
    _compact(table, contract, day, ARCHIVE)


def _compact(table: "Table", contract: TopicContract, day: date, folder: str = DATA_DIR) -> None:
    """Rewrite one day as sorted files, in one commit that keeps the table's offsets."""
    start = datetime.combine(day, time(), UTC)
    end = start + timedelta(days=1)
    of_day = f"landed_at >= '{start.isoformat()}' and landed_at < '{end.isoformat()}'"
    files = LakeFiles(table)
    paths: list[str] = []
    try:
        for rows in _sorted_runs(table.scan(row_filter=of_day).to_arrow_batch_reader(), contract):
            path = files.new_path(day, PREFIX, folder)
            # Closed before it is published: an object store shows an object only when its stream has ended.
            with (
                files.open(path) as sink,
                pq.ParquetWriter(sink, rows.schema, compression="zstd", compression_level=1) as writer,
            ):
                writer.write_table(rows)
            paths.append(files.publish(path))
        properties = position_of(table).properties()
        with table.transaction() as transaction:
            transaction.delete(of_day, snapshot_properties=properties)
            transaction.add_files(
                [files.url(path) for path in paths],
                snapshot_properties=properties,
                check_duplicate_files=False,
            )
    except BaseException:
        for path in paths:
            with suppress(OSError):
                files.remove(path)
        raise


def _sorted_runs(reader: Any, contract: TopicContract) -> Iterator[pa.Table]:
    """Runs of bounded size, each in the table's sort order."""
    keys = [(name, "ascending") for name in sort_columns(contract)]
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in reader:
        held.append(batch)
        rows += batch.num_rows
        if rows >= ROWS_PER_FILE:
            yield pa.Table.from_batches(held).sort_by(keys)
            held, rows = [], 0
    if held:
        yield pa.Table.from_batches(held).sort_by(keys)


def _expire(table: "Table", before: datetime) -> int:
    """Drop snapshots older than an instant; the current one and its position always stay."""
    position = position_of(table)
    current = table.current_snapshot()
    old = [
        item.snapshot_id
        for item in table.snapshots()
        if item.timestamp_ms < before.timestamp() * 1000
        and current is not None
        and item.snapshot_id != current.snapshot_id
    ]
    # Without offsets in the current snapshot its ancestors hold the position, and must stay.
    if not old or current is None or not _carries_position(table):
        return 0
    table.maintenance.expire_snapshots().by_ids(old).commit()
    table.refresh()
    if position_of(table) != position:
        raise AssertionError(f"{table.name()}: expiring snapshots changed the position; restore the catalog")
    return len(old)


def _carries_position(table: "Table") -> bool:
    current = table.current_snapshot()
    summary = current.summary if current else None
    return bool(summary) and OFFSETS in summary.additional_properties
