"""Where the rows of a batch come from when it is landed again: Kafka, the lake, and raw as it is.

Add a source here when batches can be had from another place. Avoid deciding what becomes of them: `reland`
does.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import chain, groupby
from typing import Any

import numpy as np
import polars as pl
import psycopg
import pyarrow as pa

from orchestration.ingest.batch import Batch, BatchBuilder
from orchestration.ingest.consume import Chunk, RangeReader
from orchestration.ingest.contracts import TopicContract, arrow_schema
from orchestration.ingest.kafka_records import NO_MESSAGES, joined
from orchestration.ingest.lake import Lake, one_batch, stored_rows
from orchestration.ingest.lake_writer import read_raw
from orchestration.ingest.offsets import Bounds, LandingError, PartitionId, Range, broker_bounds
from orchestration.ingest.pii import PiiVault
from orchestration.ingest.poison import build_around_poison
from orchestration.ingest.services import LandingServices
from orchestration.ingest.topics import admin_client

READ_MESSAGES, READ_BYTES = 50_000, 32 * 1024 * 1024


class Source(StrEnum):
    """Where rows come from."""

    KAFKA = "kafka"
    LAKE = "lake"


@dataclass(frozen=True)
class Landed:
    """A ledger row of a range, as it stands.

    Attributes:
        batch_id: Batch.
        partition: Where from.
        offsets: Range.
        landed: Rows.
        dead_lettered: Dead letters at first, replayed ones too.
        discarded: Messages that the contract of then dropped.
        landed_at: When.
        is_retired: Whether raw has let its rows go.
    """

    batch_id: int
    partition: PartitionId
    offsets: Range
    landed: int
    dead_lettered: int
    discarded: int
    landed_at: datetime
    is_retired: bool

    def __str__(self) -> str:
        return f"{self.partition} offsets {self.offsets.lo} to {self.offsets.hi} (batch {self.batch_id})"


@dataclass(frozen=True)
class Rebuilt:
    """A batch as its source gives it again.

    Attributes:
        landed: Which.
        source: Where from.
        rows: Rows with the batch's own id and times.
        batch: Everything else that its messages say; None from the lake.
    """

    landed: Landed
    source: Source
    rows: pa.RecordBatch
    batch: Batch | None


class Sources:
    """Kafka, lake and raw for the batches of one topic."""

    def __init__(
        self,
        services: LandingServices,
        contracts: Mapping[str, TopicContract],
        contract: TopicContract,
        vault: PiiVault,
    ) -> None:
        """Open what is needed.

        Args:
            services: Addresses; Kafka may be away if the lake has the batches.
            contracts: Contracts by topic.
            contract: Contract of the topic.
            vault: Where tokens come from.
        """
        self._services, self._contract, self.vault = services, contract, vault
        self._schema = arrow_schema(contract)
        self._builder = BatchBuilder(contract, services.schema_catalog(contracts), vault)
        self._table = Lake(services.lake_url, services.catalog_uri).existing_table(contract)
        self._bounds: dict[PartitionId, Bounds] = {}
        with suppress(LandingError):  # the broker is away, or has no such topic: the lake may do
            admin = admin_client(services.bootstrap_servers)
            self._bounds = broker_bounds(admin, [contract.topic])

    def rebuild(self, chosen: Sequence[Landed], source: Source | None) -> Iterator[Rebuilt | str]:
        """Each batch again, in the order of its offsets; a text instead where no source has it.

        Args:
            chosen: Batches by partition and offset.
            source: The one to take; by default Kafka as far as it goes, then the lake.
        """
        for is_there, group in groupby(
            chosen, key=lambda item: source is not Source.LAKE and self._is_there(item)
        ):
            if is_there:
                for _, own in groupby(group, key=lambda item: item.partition):
                    yield from self._from_kafka(list(own))
                continue
            for item in group:
                rows = None if source is Source.KAFKA else self.lake_rows(item)
                if rows is not None:
                    yield Rebuilt(item, Source.LAKE, rows, None)
                else:
                    missing = (
                        "neither Kafka nor the lake has it whole" if source is None else f"not in {source}"
                    )
                    yield f"{item}: {missing}. Nothing was changed."

    def _is_there(self, landed: Landed) -> bool:
        """Whether Kafka has the messages of a range; a transfer (span 0) is no range of it."""
        bounds = self._bounds.get(landed.partition)
        return bounds is not None and len(landed.offsets) > 0 and _holds(bounds, landed.offsets)

    def _from_kafka(self, batches: Sequence[Landed]) -> Iterator[Rebuilt]:
        """Read one partition once and cut what comes at the borders of the batches."""
        partition = batches[0].partition
        messages = NO_MESSAGES
        chunks = self._chunks(partition, Range(batches[0].offsets.lo, batches[-1].offsets.hi))
        reached = batches[0].offsets.lo
        for landed in batches:
            while reached < landed.offsets.hi:
                chunk = next(chunks)
                messages, reached = joined([messages, chunk.messages]), chunk.hi
            first, last = np.searchsorted(messages.offsets, [landed.offsets.lo, landed.offsets.hi]).tolist()
            own = Chunk(partition, landed.offsets.lo, landed.offsets.hi, messages[first:last])
            messages = messages[last:]
            batch, _ = build_around_poison(self._builder, own, landed.batch_id, landed.landed_at)
            yield Rebuilt(landed, Source.KAFKA, batch.rows, batch)

    def _chunks(self, partition: PartitionId, offsets: Range) -> Iterator[Chunk]:
        reader = RangeReader(
            self._services.bootstrap_servers, {partition: offsets}, True, READ_MESSAGES, READ_BYTES, 0.2
        )
        try:
            while not reader.is_finished:
                yield from reader.read()
            for error in reader.unreadable.values():
                raise error
        finally:
            reader.close()

    def lake_rows(self, landed: Landed) -> pa.RecordBatch | None:
        """Rows of a batch in the lake; None where they are not all there."""
        if self._table is None or self._table.current_snapshot() is None:
            return None
        rows = one_batch(
            stored_rows(self._table, self._schema, f"batch_id = {landed.batch_id}"), self._schema
        )
        return rows if rows.num_rows == landed.landed else None

    def raw_rows(self, landed: Landed) -> pa.RecordBatch:
        """What raw holds of a batch, copies included."""
        return self._read([landed.batch_id], [landed.landed_at.astimezone(UTC).date()])

    def later_rows(self, connection: psycopg.Connection[Any], landed: Landed) -> pa.RecordBatch:
        """Rows of the batch's offsets that came later: replayed dead letters and newer versions."""
        transfers = connection.execute(
            """
            select batch_id, (landed_at at time zone 'UTC')::date, retired_at is not null
            from ops.landing_ledger
            where topic_id = %s and kafka_partition = %s and offset_hi = offset_lo and landed > 0
            """,
            (landed.partition.topic_id, landed.partition.partition),
        ).fetchall()
        hot = [row for row in transfers if not row[2]]
        warm = [f"batch_id = {row[0]}" for row in transfers if row[2]]
        parts = [self._read([row[0] for row in hot], sorted({row[1] for row in hot}))]
        if warm and self._table is not None:  # raw has let them go, the lake has not
            parts += stored_rows(self._table, self._schema, " or ".join(warm))
        found = one_batch(parts, self._schema)
        offsets = pl.Series(found.column("kafka_offset").to_numpy(zero_copy_only=False))
        return found.filter(((offsets >= landed.offsets.lo) & (offsets < landed.offsets.hi)).to_arrow())

    def _read(self, batch_ids: list[int], days: list[date]) -> pa.RecordBatch:
        parts = (read_raw(self._services.database_url, self._contract, batch_ids, day) for day in days)
        return one_batch(chain.from_iterable(parts), self._schema)


def _holds(bounds: Bounds, offsets: Range) -> bool:
    return bounds.low <= offsets.lo and offsets.hi <= bounds.end


def as_batch(frame: pl.DataFrame, schema: pa.Schema, batch_id: int, at: datetime) -> pa.RecordBatch:
    """Rows of a frame as a batch of its own: known and landed at one instant.

    Args:
        frame: Rows with the columns of `schema`.
        schema: Schema of the raw table.
        batch_id: The new batch.
        at: Its known and landed time.
    """
    instant = pl.lit(at).cast(pl.Datetime("us", "UTC"))
    renewed = frame.sort("kafka_offset").with_columns(
        pl.lit(batch_id, pl.Int64).alias("batch_id"), instant.alias("known_at"), instant.alias("landed_at")
    )
    table = renewed.rechunk().to_arrow()
    columns = [table.column(item.name).combine_chunks().cast(item.type) for item in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
