"""What the lake keeps beside the rows: ledger, dead letters and findings, so that it can give all back.

A journal is a folder of small files beside a table's data, each some JSON lines, one per row of `ops`
as it was. A flush writes its part before its snapshot, so the journal is never behind the rows; a row
that comes again (a repeated flush, a letter that was replayed) replaces the earlier one. They are plain
files and no Iceberg table, because an erasure must take bytes out of them for good, history included.
Whoever writes holds the table's lock (`locked`). Add a table of `ops` here when landing can't go on
without it. Avoid reading them back: `restore` does.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import json
import os
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pyarrow as pa
from pyarrow import fs

from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.lake import Lake, LakePosition, PartitionKey

if TYPE_CHECKING:
    from pyiceberg.table import Table

FOLDER, SUFFIX, UNFINISHED = "journal", ".jsonl.zst", ".inflight"
MAX_FILES = 64  # per kind: an hour of a flush per minute; upkeep makes few of more
SMALL_BYTES = 16 * 1024 * 1024
LINES_PER_FILE = 200_000  # some 60 MiB of ledger rows in memory, 6 MiB on disk


class Kind(StrEnum):
    """A table of `ops` that is kept; its name begins its files' names."""

    LEDGER = "landing_ledger"
    LETTERS = "dead_letters"
    FINDINGS = "landing_findings"


KEYS = {Kind.LEDGER: "batch_id", Kind.LETTERS: "dead_letter_id", Kind.FINDINGS: "finding_id"}
NOT_KEPT = ["verified_at", "retired_at", "archived_at"]
"""What only says something of the Postgres that is there now."""


def lock_table(connection: psycopg.Connection[Any], table: str) -> None:
    """Wait for the turn to commit to a lake table and its journal, until the transaction ends."""
    connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"lake/{table}",))


def renew_letters(
    connection: psycopg.Connection[Any],
    lake: Lake,
    contracts: Iterable[TopicContract],
    ids: Collection[int],
) -> None:
    """Let every journal hold some dead letters as the caller's transaction has just made them.

    Args:
        connection: Connection in the transaction that changed them; it holds the tables' locks until its end.
        lake: The catalog.
        contracts: Contracts whose topics the letters may be of.
        ids: Dead letters that were erased or have expired.
    """
    for contract in contracts:
        table = lake.existing_table(contract) if ids else None
        if table is not None:
            lock_table(connection, contract.table)
            LakeJournal(table).renew_letters(connection, ids)


class LakeJournal:
    """The journal of one lake table."""

    def __init__(self, table: "Table") -> None:
        """Take the file system from the table's location (`file://…`, `s3://…`)."""
        self._is_local = table.location().startswith("file://")
        filesystem, root = fs.FileSystem.from_uri(table.location())
        self._filesystem: fs.FileSystem = filesystem
        self._folder = f"{root}/{FOLDER}"

    def record(
        self, connection: psycopg.Connection[Any], topic: str, before: LakePosition, after: LakePosition
    ) -> int:
        """Keep the ledger rows by which a snapshot goes further, with their letters and findings.

        The first call on a table that is older than its journal keeps everything up to `after`.

        Args:
            connection: Connection in a transaction that holds the table's lock.
            topic: Topic of the table.
            before: Position of the table's present snapshot.
            after: Position of the snapshot that is about to be committed.

        Returns:
            Ledger rows that were written.
        """
        if not self.paths(Kind.LEDGER):
            before = LakePosition()
        moved = [key for key, offset in after.offsets.items() if offset > before.offsets.get(key, 0)]
        written = 0
        with connection.cursor(name="journal") as cursor:
            cursor.execute(
                _LEDGER_ROWS,
                {
                    "topic": topic,
                    "not_kept": NOT_KEPT,
                    "ids": [topic_id for topic_id, _ in moved],
                    "numbers": [number for _, number in moved],
                    "since": [before.offsets.get(key, 0) for key in moved],
                    "until": [after.offsets[key] for key in moved],
                    "replays": before.replays,
                    "replayed": after.replays,
                },
            )
            while rows := cursor.fetchmany(LINES_PER_FILE):
                if batches := [batch_id for batch_id, _, has_more in rows if has_more]:
                    self._write(Kind.LETTERS, _lines(connection, _LETTERS, batches))
                    self._write(Kind.FINDINGS, _lines(connection, _FINDINGS, batches))
                self._write(Kind.LEDGER, [line for _, line, _ in rows])  # last: `position` vouches for all
                written += len(rows)
        return written

    def position(self) -> LakePosition:
        """How far the kept ledger rows reach, read from every one of them."""
        offsets: dict[PartitionKey, int] = {}
        replays = 0
        for path in self.paths(Kind.LEDGER):
            for row in map(json.loads, self.lines(path)):
                key = (uuid.UUID(row["topic_id"]), int(row["kafka_partition"]))
                if row["offset_hi"] > row["offset_lo"]:
                    offsets[key] = max(offsets.get(key, 0), int(row["offset_hi"]))
                else:
                    replays = max(replays, int(row["batch_id"]))
        return LakePosition(offsets, replays)

    def renew_letters(self, connection: psycopg.Connection[Any], ids: Collection[int]) -> None:
        """Put the present state of some dead letters in place of every earlier one.

        Args:
            connection: Connection in a transaction that holds the table's lock.
            ids: Dead letters that were erased or have expired.
        """
        now = {_key(line, Kind.LETTERS): line for line in _lines(connection, _LETTERS_BY_ID, list(ids))}
        for path in self.paths(Kind.LETTERS) if now else ():
            lines = self.lines(path)
            keys = [_key(line, Kind.LETTERS) for line in lines]
            if now.keys() & set(keys):
                renewed = [now.get(key, line) for key, line in zip(keys, lines, strict=True)]
                self._write(Kind.LETTERS, renewed, _age_of(path))
                self._filesystem.delete_file(path)

    def highest(self, kind: Kind) -> int:
        """Highest number (`KEYS`) of the kept rows of a kind; 0 where there is none."""
        return max((_key(line, kind) for path in self.paths(kind) for line in self.lines(path)), default=0)

    def letters(self) -> Iterator[dict[str, Any]]:
        """Every kept dead letter as its row was, older states included; bytes as bytes."""
        for path in self.paths(Kind.LETTERS):
            for line in self.lines(path):
                kept = json.loads(line)
                for name in ("message_key", "payload"):
                    kept[name] = None if kept[name] is None else bytes.fromhex(kept[name][len("\\x") :])
                yield kept

    def merge(self) -> int:
        """Make few files of many, with the table's lock held.

        Returns:
            Files that there are afterwards.
        """
        for kind in Kind:
            paths = self.paths(kind)
            sizes = {info.path: info.size or 0 for info in self._filesystem.get_file_info(paths)}
            small = [path for path in paths if sizes[path] < SMALL_BYTES]
            if len(small) > MAX_FILES:
                # As young as the youngest: among rows of one key the later line counts. Of a crash before the
                # deletions both copies are left, which says the same.
                self._write(kind, [line for path in small for line in self.lines(path)], _age_of(small[-1]))
                for path in small:
                    self._filesystem.delete_file(path)
        return sum(len(self.paths(kind)) for kind in Kind)

    def paths(self, kind: Kind) -> list[str]:
        """Files of a kind, oldest first."""
        listed = self._filesystem.get_file_info(fs.FileSelector(self._folder, allow_not_found=True))
        own = [
            info.path
            for info in listed
            if Path(info.path).name.startswith(f"{kind.value}-") and info.path.endswith(SUFFIX)
        ]
        return sorted(own, key=lambda path: (_age_of(path), path))

    def lines(self, path: str) -> list[str]:
        """Rows of one file as JSON, the later ones last."""
        with self._filesystem.open_input_stream(path, compression="zstd") as stream:
            return stream.read().decode().split("\n")  # not splitlines: text may hold other line ends

    def _write(self, kind: Kind, lines: Sequence[str], age: int | None = None) -> None:
        if not lines:
            return
        if self._is_local:
            self._filesystem.create_dir(self._folder, recursive=True)
        if age is None:
            paths = self.paths(kind)
            age = _age_of(paths[-1]) + 1 if paths else 1
        path = f"{self._folder}/{kind.value}-{age:012d}-{uuid.uuid4().hex}{SUFFIX}"
        unfinished = path + UNFINISHED if self._is_local else path
        with (
            self._filesystem.open_output_stream(unfinished, compression=None) as file,
            pa.CompressedOutputStream(file, "zstd") as stream,
        ):
            stream.write("\n".join(lines).encode())
        if self._is_local:
            _publish(unfinished, path)


_LEDGER_ROWS = """
    select l.batch_id, (to_jsonb(l) - %(not_kept)s::text[])::text, l.dead_lettered <> 0 or l.absent <> 0
    from ops.landing_ledger as l
    inner join unnest(%(ids)s::uuid[], %(numbers)s::int[], %(since)s::bigint[], %(until)s::bigint[])
        as p (topic_id, kafka_partition, since, until)
        on l.topic_id = p.topic_id and l.kafka_partition = p.kafka_partition
            and l.offset_lo >= p.since and l.offset_hi <= p.until
    where l.topic = %(topic)s and l.offset_hi > l.offset_lo
    union all
    select l.batch_id, (to_jsonb(l) - %(not_kept)s::text[])::text, true
    from ops.landing_ledger as l
    where l.topic = %(topic)s and l.offset_hi = l.offset_lo
        and l.batch_id > %(replays)s and l.batch_id <= %(replayed)s
"""
_LETTERS = """
    select to_jsonb(d)::text from ops.dead_letters as d
    where d.batch_id = any(%(ids)s) or d.replay_batch_id = any(%(ids)s)
"""
_LETTERS_BY_ID = "select to_jsonb(d)::text from ops.dead_letters as d where d.dead_letter_id = any(%(ids)s)"
_FINDINGS = "select to_jsonb(f)::text from ops.landing_findings as f where f.batch_id = any(%(ids)s)"


def _lines(connection: psycopg.Connection[Any], statement: LiteralString, ids: list[int]) -> list[str]:
    return [str(line) for (line,) in connection.execute(statement, {"ids": ids})]


def _key(line: str, kind: Kind) -> int:
    return int(json.loads(line)[KEYS[kind]])


def _age_of(path: str) -> int:
    return int(Path(path).name.split("-")[1])


def _publish(unfinished: str, path: str) -> None:
    """Give a local file its name, so that it survives a power failure."""
    for step in (unfinished, str(Path(path).parent)):
        descriptor = os.open(step, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if step == unfinished:
            Path(unfinished).rename(path)
