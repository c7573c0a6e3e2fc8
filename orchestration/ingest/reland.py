"""Lands a range or a time window again, to the same result.

Whole batches are landed again under their own id, known and landed time, from Kafka or, where its
retention has passed them, from the lake. A row that is there as it should be is not touched; one that
is missing, there twice or damaged is put back as it was; one that the contract of today reads otherwise
is added as a newer version with a new known time, so a rebuild as of an earlier instant sees the older.
Positions do not move. Add here what happens to a batch. Avoid reading: `reland_sources` does.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import psycopg
import pyarrow as pa
from psycopg import sql

from orchestration.ingest.batch import Batch
from orchestration.ingest.contracts import TopicContract, arrow_schema, ensure_day_partition
from orchestration.ingest.copy_format import copy_stream
from orchestration.ingest.dead_letters import REPLAY_LOCK, Selection
from orchestration.ingest.dead_letters import replay as replay_letters
from orchestration.ingest.lake import one_batch
from orchestration.ingest.ledger import Counts, LedgerRow, next_batch_ids, write_rows
from orchestration.ingest.offsets import LandingError, PartitionId, Range
from orchestration.ingest.pii import PiiVault
from orchestration.ingest.postgres_sink import copy_rows, write_dead_letters, write_watermarks
from orchestration.ingest.reland_sources import Landed, Rebuilt, Source, Sources, as_batch
from orchestration.ingest.services import LandingServices


@dataclass(frozen=True)
class Window:
    """What is to be landed again; every condition that is given must hold. Batches are taken whole.

    Attributes:
        topic: Topic.
        partition: Partition; all by default.
        offsets: Offsets of which each batch must hold one.
        since: First instant of landing.
        until: Instant of landing before which batches are taken.
        source: Where from; by default Kafka for what it still holds and the lake for the rest.
        may_be_empty: Whether a window without a batch is no mistake.
    """

    topic: str
    partition: int | None = None
    offsets: Range | None = None
    since: datetime | None = None
    until: datetime | None = None
    source: Source | None = None
    may_be_empty: bool = False


@dataclass
class RelandReport:
    """What landing again did.

    Attributes:
        batches: Batches that were landed again, by source.
        unchanged: Rows that were as they should be.
        restored: Rows that were put back under their own batch, because raw lacked or had damaged them.
        removed: Rows that raw held beyond those: copies, or damaged ones.
        corrected: Rows that got a newer version.
        brought: Messages that were discarded then and are rows now.
        replayed: Dead letters that are rows now.
        kept: Rows that the contract of today would refuse; they stay.
        unreachable: Batches that neither Kafka nor the lake has, or that can't be told apart, in words.
        has_moved_keys: Whether a newer version has another key than the older one.
    """

    batches: dict[Source, int] = field(default_factory=dict[Source, int])
    unchanged: int = 0
    restored: int = 0
    removed: int = 0
    corrected: int = 0
    brought: int = 0
    replayed: int = 0
    kept: int = 0
    unreachable: list[str] = field(default_factory=list[str])
    has_moved_keys: bool = False

    def sentences(self) -> list[str]:
        """What was done, for people; nothing that was not."""
        counts = {
            "rows are as they should be": self.unchanged,
            "rows were put back under their own batch": self.restored,
            "rows were removed as copies or damaged": self.removed,
            "rows got a newer version, known from now on": self.corrected,
            "messages that were discarded are rows now": self.brought,
            "dead letters are rows now": self.replayed,
            "rows stay that the contract of today would refuse": self.kept,
        }
        return [f"{count:,} {text}" for text, count in counts.items() if count]


def reland(
    services: LandingServices,
    contracts: Mapping[str, TopicContract],
    window: Window,
    run_id: str | None = None,
) -> RelandReport:
    """Land again what a window names; each batch in a transaction of its own.

    Args:
        services: Addresses.
        contracts: Contracts by topic, as they are now.
        window: What.
        run_id: Written into the ledger beside newer versions.

    Raises:
        LandingError: The window names no batch that was ever landed.
    """
    contract, report = contracts[window.topic], RelandReport()
    with psycopg.connect(services.database_url) as connection:
        chosen = _batches(connection, window)
    if not chosen and not window.may_be_empty:
        raise LandingError(f"{window.topic}: nothing was landed in this window. Nothing was done.")
    ranges: list[Landed] = []
    with psycopg.connect(services.database_url, autocommit=True) as keys:
        sources = Sources(services, contracts, contract, PiiVault(keys))
        for rebuilt in sources.rebuild(chosen, window.source):
            if isinstance(rebuilt, str):
                report.unreachable.append(rebuilt)
                continue
            with psycopg.connect(services.database_url) as connection:
                # Transfers must be committed in the order of their ids, like those of replays.
                connection.execute("select pg_advisory_xact_lock(%s)", (REPLAY_LOCK,))
                _Batch(connection, contract, rebuilt, sources, report, run_id).land()
            report.batches[rebuilt.source] = report.batches.get(rebuilt.source, 0) + 1
            if rebuilt.source is Source.KAFKA:
                ranges.append(rebuilt.landed)
    if letters := _open_letters(services, ranges):
        report.replayed = replay_letters(services, contracts, Selection(ids=letters)).landed
    return report


def _batches(connection: psycopg.Connection[Any], window: Window) -> list[Landed]:
    """Ledger rows of a window. Offsets count within the topic's latest life that has the partition.

    Transfers (replays and corrections, of span 0) are taken where raw has let them go, and before the ranges:
    what a range lacks is judged by what came later.
    """
    rows = connection.execute(
        """
        select l.batch_id, l.topic_id, l.kafka_partition, l.offset_lo, l.offset_hi, l.landed, l.dead_lettered,
            l.discarded, l.landed_at, l.retired_at is not null
        from ops.landing_ledger as l
        where l.topic = %(topic)s
            and (l.offset_hi > l.offset_lo or (l.landed > 0 and l.retired_at is not null))
            and (%(partition)s::int is null or l.kafka_partition = %(partition)s)
            and (%(lo)s::bigint is null or (
                greatest(l.offset_hi, l.offset_lo + 1) > %(lo)s and l.offset_lo < %(hi)s and l.topic_id = (
                    select topic_id from ops.landing_ledger
                    where topic = %(topic)s and kafka_partition = l.kafka_partition
                    order by landed_at desc, batch_id desc limit 1
                )
            ))
            and (%(since)s::timestamptz is null or l.landed_at >= %(since)s)
            and (%(until)s::timestamptz is null or l.landed_at < %(until)s)
        order by l.offset_hi > l.offset_lo, l.topic_id, l.kafka_partition, l.offset_lo, l.batch_id
        """,
        {
            "topic": window.topic,
            "partition": window.partition,
            "lo": window.offsets.lo if window.offsets else None,
            "hi": window.offsets.hi if window.offsets else None,
            "since": window.since,
            "until": window.until,
        },
    ).fetchall()
    return [
        Landed(batch_id, PartitionId(window.topic, topic_id, number), Range(lo, hi), *terms)
        for batch_id, topic_id, number, lo, hi, *terms in rows
    ]


def _open_letters(services: LandingServices, ranges: Sequence[Landed]) -> list[int]:
    with psycopg.connect(services.database_url) as connection:
        rows = connection.execute(
            "select dead_letter_id from ops.dead_letters where batch_id = any(%s) and replayed_at is null",
            ([item.batch_id for item in ranges],),
        ).fetchall()
    return [int(row[0]) for row in rows]


class _Batch:
    """One batch that is landed again, in the caller's transaction."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        contract: TopicContract,
        rebuilt: Rebuilt,
        sources: Sources,
        report: RelandReport,
        run_id: str | None,
    ) -> None:
        self._connection, self._contract = connection, contract
        self._landed, self._rebuilt, self._sources = rebuilt.landed, rebuilt, sources
        self._report, self._run_id = report, run_id
        self._table = sql.Identifier("raw", contract.table)

    def land(self) -> None:
        """Put back what is missing or damaged, then add what reads otherwise today."""
        if self._rebuilt.source is Source.LAKE:
            self._put_back(self._rebuilt.rows)
            return
        assert self._rebuilt.batch is not None
        letters = self._letters()
        self._restore_letters(letters)
        present = self._sources.raw_rows(self._landed)
        if present.num_rows != self._landed.landed or _offsets(present).n_unique() != present.num_rows:
            original = self._sources.lake_rows(self._landed)
            if original is None:
                original = self._without(self._rebuilt.rows, letters | self._later_offsets())
            self._put_back(original)
            if original.num_rows != self._landed.landed:
                return
            present = original
        else:
            self._report.unchanged += present.num_rows
        self._correct(present, letters)

    def _put_back(self, rows: pa.RecordBatch) -> None:
        """Make raw hold exactly these rows of the batch."""
        landed = self._landed
        if rows.num_rows != landed.landed:
            self._report.unreachable.append(
                f"{landed}: {rows.num_rows} rows can be had, the ledger landed {landed.landed}. Nothing was "
                "changed."
            )
            return
        present = self._sources.raw_rows(landed)
        wanted = _sorted(rows)
        if _sorted(present).equals(wanted, null_equal=True):
            self._report.unchanged += rows.num_rows
            return
        same = _frame(present).unique().join(wanted, on=wanted.columns, how="semi", nulls_equal=True).height
        if rows.num_rows:
            ensure_day_partition(
                self._connection, self._contract.table, landed.landed_at.astimezone(UTC).date()
            )
        self._connection.execute(
            sql.SQL("delete from {} where batch_id = %s and landed_at = %s").format(self._table),
            (landed.batch_id, landed.landed_at),
        )
        if rows.num_rows:
            copy_rows(self._connection, self._contract.table, copy_stream(rows))
        if landed.is_retired:
            self._connection.execute(
                "update ops.landing_ledger set retired_at = null where batch_id = %s", (landed.batch_id,)
            )
        self._report.unchanged += same
        self._report.restored += rows.num_rows - same
        self._report.removed += present.num_rows - same

    def _correct(self, present: pa.RecordBatch, letters: set[int]) -> None:
        """Add a newer version of each row that the contract of today reads otherwise."""
        assert self._rebuilt.batch is not None
        fields = [item.name for item in self._contract.fields]
        newest = _frame(self._with_later(present)).sort("batch_id").unique("kafka_offset", keep="last")
        today = _frame(self._rebuilt.rows)
        self._report.kept += newest.join(today, on="kafka_offset", how="anti").height
        same = today.join(newest, on=["kafka_offset", *fields], how="semi", nulls_equal=True)["kafka_offset"]
        other = today.filter(~pl.col("kafka_offset").is_in(same.implode()))
        other = other.filter(~pl.col("kafka_offset").is_in(list(letters)))
        if not other.height:
            return
        changed = other.join(newest, on="kafka_offset", how="semi")
        if other.height - changed.height > self._landed.discarded:
            self._report.unreachable.append(
                f"{self._landed}: {other.height - changed.height} messages are neither rows nor dead "
                f"letters, the ledger discarded {self._landed.discarded}. Nothing was changed; see "
                "`opsgraph ledger check`."
            )
            return
        now = datetime.now(UTC)
        (batch_id,) = next_batch_ids(self._connection, 1)
        rows = as_batch(other, arrow_schema(self._contract), batch_id, now)
        counts = Counts(
            landed=other.height,
            discarded=changed.height - other.height,
            superseded=-changed.height,
        )
        ensure_day_partition(self._connection, self._contract.table, now.date())
        copy_rows(self._connection, self._contract.table, copy_stream(rows))
        first = int(_offsets(rows).min())  # type: ignore[arg-type]
        place = Range(first, first)
        write_rows(
            self._connection,
            [LedgerRow(batch_id, self._landed.partition, place, counts, now, self._run_id or "reland")],
        )
        self._store_people(replace(self._rebuilt.batch, rows=rows))
        self._report.corrected += changed.height
        self._report.brought += other.height - changed.height
        key = list(self._contract.primary_key)
        kept_keys = changed.join(newest, on=["kafka_offset", *key], how="semi", nulls_equal=True).height
        self._report.has_moved_keys |= kept_keys < changed.height

    def _store_people(self, batch: Batch) -> None:
        """Originals behind new tokens; of nobody who was erased."""
        write_watermarks(self._connection, [batch])
        erased = {
            (tenant, token)
            for tenant, token in self._connection.execute("select tenant_id, subject_token from ops.erasures")
        }
        self._sources.vault.store(
            self._connection, [item for item in batch.subjects if (item.tenant_id, item.token) not in erased]
        )

    def _letters(self) -> set[int]:
        """Offsets of the batch that became dead letters, replayed ones too."""
        rows = self._connection.execute(
            "select kafka_offset from ops.dead_letters where batch_id = %s", (self._landed.batch_id,)
        )
        return {int(row[0]) for row in rows}

    def _restore_letters(self, letters: set[int]) -> None:
        """Put lost dead letters back, if what is refused today is what was refused then."""
        batch = self._rebuilt.batch
        assert batch is not None
        lost = [item for item in batch.dead_letters if item.offset not in letters]
        if lost and len(letters) + len(lost) == self._landed.dead_lettered:
            write_dead_letters(self._connection, replace(batch, dead_letters=lost))
            letters |= {item.offset for item in lost}

    def _later_offsets(self) -> set[int]:
        return set(_offsets(self._sources.later_rows(self._connection, self._landed)).to_list())

    def _with_later(self, present: pa.RecordBatch) -> pa.RecordBatch:
        later = self._sources.later_rows(self._connection, self._landed)
        if not later.num_rows:
            return present
        return one_batch([present, later], present.schema)

    def _without(self, rows: pa.RecordBatch, offsets: set[int]) -> pa.RecordBatch:
        mask = (~_offsets(rows).is_in(list(offsets))).to_arrow()
        return rows.filter(mask)


def _frame(rows: pa.RecordBatch) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(rows))


def _sorted(rows: pa.RecordBatch) -> pl.DataFrame:
    return _frame(rows).sort("kafka_offset")


def _offsets(rows: pa.RecordBatch) -> pl.Series:
    return pl.Series("kafka_offset", rows.column("kafka_offset").to_numpy(zero_copy_only=False))
