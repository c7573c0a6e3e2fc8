"""One batch: a chunk of messages made into what the sinks write in one transaction.

Add a step between message and row here. Avoid I/O: a batch is prepared from bytes alone (the token
keys aside).
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from orchestration.ingest.consume import Chunk
from orchestration.ingest.contracts import TopicContract, arrow_schema
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.decode import INDEX, Refusal, make_decoder
from orchestration.ingest.kafka_records import Headers, Messages, Record, joined
from orchestration.ingest.ledger import Counts
from orchestration.ingest.offsets import PartitionId, Range
from orchestration.ingest.pii import PiiVault, Subject, has_personal_fields
from orchestration.ingest.rules import FUTURE_TOLERANCE, KNOWN_AT, Rules

KNOWN_AT_HEADER = "known_at"
EMPTY = "the payload has no bytes; a tombstone has no payload at all (null)"
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_HEADER, BAD_HEADER = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True)
class DeadLetter:
    """A refused message with its original bytes and the reason."""

    offset: int
    key: bytes | None
    payload: bytes | None
    headers: Headers
    error_class: str
    error_message: str
    schema_id: int | None


@dataclass(frozen=True)
class Batch:
    """What one ledger row stands for.

    Attributes:
        contract: Contract of the topic.
        partition: Where the messages come from.
        batch_id: Id of the ledger row.
        offsets: Range that is accounted for.
        landed_at: When; one instant per batch.
        rows: The raw rows, in `arrow_schema(contract)`.
        counts: Terms of the ledger row.
        dead_letters: The refused messages.
        watermarks: Highest event time per tenant.
        subjects: Personal values that were replaced by tokens.
    """

    contract: TopicContract
    partition: PartitionId
    batch_id: int
    offsets: Range
    landed_at: datetime
    rows: pa.RecordBatch
    counts: Counts
    dead_letters: Sequence[DeadLetter] = ()
    watermarks: dict[str, datetime] = field(default_factory=dict)
    subjects: Sequence[Subject] = ()

    @property
    def size(self) -> int:
        """Bytes of the rows in memory."""
        return int(self.rows.nbytes)


class NotTogetherError(ValueError):
    """Chunks that must be built one by one."""


class BatchBuilder:
    """Prepares the batches of one topic."""

    def __init__(self, contract: TopicContract, catalog: SchemaCatalog, vault: PiiVault) -> None:
        """Compile what the contract asks for."""
        self.contract = contract
        self._decoder = make_decoder(contract, catalog)
        self._rules = Rules(contract)
        self._schema = arrow_schema(contract)
        self._vault = vault if has_personal_fields(contract) else None

    def build(
        self, chunk: Chunk, batch_id: int, landed_at: datetime, refused: Sequence[Refusal] = ()
    ) -> Batch:
        """Decode, judge and lay out a chunk.

        Args:
            chunk: Messages and the range that they stand for.
            batch_id: Id that its rows and its ledger row get.
            landed_at: Landing time of every row; also the known time of messages without the header.
            refused: Messages with a payload that are not to be looked at: they become dead letters.
        """
        return self.build_together([chunk], [batch_id], landed_at, refused)[0][0]

    def build_together(
        self,
        chunks: Sequence[Chunk],
        batch_ids: Sequence[int],
        landed_at: datetime,
        refused: Sequence[Refusal] = (),
    ) -> tuple[list[Batch], pa.RecordBatch]:
        """Decode, judge and lay out chunks of several partitions at once.

        The steps of a batch cost 4 ms however few its messages are: four small ones cost little more
        together than one alone.

        Args:
            chunks: Of different partitions.
            batch_ids: One per chunk.
            landed_at: As for `build`.
            refused: As for `build`, by position in the messages of all chunks.

        Returns:
            A batch per chunk, and the rows of all, of which each batch has a slice.

        Raises:
            NotTogetherError: Values were discarded, which are counted, but not by chunk.
        """
        messages = joined([chunk.messages for chunk in chunks])
        begins = np.cumsum([0, *(len(chunk.messages) for chunk in chunks)])
        landed_us = (landed_at - EPOCH) // MICROSECOND
        known_us = _known_at(messages)
        known_us[known_us == NO_HEADER] = landed_us
        latest_us = landed_us + FUTURE_TOLERANCE // MICROSECOND
        is_usable = known_us <= latest_us  # BAD_HEADER is beyond every instant
        has_payload = messages.values[1] >= 0
        is_empty = messages.values[1] == 0
        is_open = has_payload & ~is_empty
        is_open[[item.index for item in refused]] = False
        live = np.flatnonzero(is_usable & is_open)
        refusals = [
            _known_at_refusal(messages.headers_of(i), i)
            for i in np.flatnonzero(~is_usable & is_open).tolist()
        ]
        refusals += [Refusal(i, "EmptyPayload", EMPTY) for i in np.flatnonzero(is_empty).tolist()]
        refusals += refused
        judged, discarded_values = None, 0
        if len(live):
            judged, of_rows, discarded_values = self._rows(messages, live, known_us)
            refusals += [
                Refusal(int(live[r.index]), r.error_class, r.message, r.schema_id, r.is_discarded)
                for r in of_rows
            ]
        if discarded_values and len(chunks) > 1:
            raise NotTogetherError
        subjects: list[Subject] = []
        if judged is not None and self._vault:
            judged, subjects = self._vault.replace(self.contract, judged)
        index = np.zeros(0, np.int64) if judged is None else live[judged[INDEX].to_numpy()]
        counts = [len(index)]
        if len(chunks) > 1:
            number_of = np.searchsorted(begins, index, "right") - 1
            counts = np.bincount(number_of, minlength=len(chunks)).tolist()
            order = np.argsort(number_of, kind="stable")  # decoding puts rows of one layout side by side
            judged, index = None if judged is None else judged[order], index[order]
        rows = self._layout(
            chunks, batch_ids, counts, judged, messages.offsets[index], known_us[index], landed_us
        )
        refusals.sort(key=lambda item: item.index)
        batches: list[Batch] = []
        start = 0
        for number, (chunk, batch_id, count) in enumerate(zip(chunks, batch_ids, counts, strict=True)):
            first, last = int(begins[number]), int(begins[number + 1])
            own = [item for item in refusals if first <= item.index < last]
            dead = [_dead_letter(messages.record(item.index), item) for item in own if not item.is_discarded]
            batches.append(
                Batch(
                    contract=self.contract,
                    partition=chunk.partition,
                    batch_id=batch_id,
                    offsets=Range(chunk.lo, chunk.hi),
                    landed_at=landed_at,
                    rows=rows.slice(start, count),
                    counts=Counts(
                        landed=count,
                        dead_lettered=len(dead),
                        discarded=len(own) - len(dead),
                        tombstones=int((~has_payload[first:last]).sum()),
                        absent=chunk.hi - chunk.lo - (last - first),
                        discarded_values=discarded_values,
                    ),
                    dead_letters=dead,
                    watermarks={} if judged is None else self._watermarks(judged[start : start + count]),
                    subjects=subjects if not number else [],  # one transaction holds all of these batches
                )
            )
            start += count
        return batches, rows

    def _rows(
        self, messages: Messages, live: np.ndarray, known_us: np.ndarray
    ) -> tuple[pl.DataFrame, list[Refusal], int]:
        payloads = messages.payloads
        if len(live) < len(payloads):
            payloads = payloads[live]
        decoded = self._decoder.decode(payloads)
        index = decoded.frame[INDEX].to_numpy()
        known = pl.Series(KNOWN_AT, known_us[live[index]]).cast(pl.Datetime("us", "UTC"))
        judged = self._rules.judge(decoded.frame.hstack([known]))
        return (
            judged.frame,
            decoded.refusals + judged.refusals,
            decoded.discarded_values + judged.discarded_values,
        )

    def _layout(
        self,
        chunks: Sequence[Chunk],
        batch_ids: Sequence[int],
        counts: list[int],
        frame: pl.DataFrame | None,
        offsets: np.ndarray,
        known_us: np.ndarray,
        landed_us: int,
    ) -> pa.RecordBatch:
        """Put the system columns before the contract's fields."""
        if frame is None or not frame.height:
            return pa.RecordBatch.from_pylist([], schema=self._schema)
        numbers = np.array([chunk.partition.partition for chunk in chunks], np.int32)
        system = {
            "batch_id": pa.array(np.repeat(np.array(batch_ids, np.int64), counts)),
            "topic_id": _repeated(chunks[0].partition.topic_id, frame.height),
            "kafka_partition": pa.array(np.repeat(numbers, counts)),
            "kafka_offset": pa.array(offsets),
            "known_at": pa.array(known_us, pa.timestamp("us", "UTC")),
            "landed_at": pa.array(np.full(frame.height, landed_us, np.int64), pa.timestamp("us", "UTC")),
        }
        fields = frame.rechunk().to_arrow()
        columns = [
            system[column.name] if column.name in system else _column(fields, column)
            for column in self._schema
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _watermarks(self, frame: pl.DataFrame) -> dict[str, datetime]:
        if not frame.height:
            return {}
        # A machine whose clock runs ahead must not carry the whole plant's clock with it.
        event, tenants = frame[self.contract.event_time_field], frame["tenant_id"]
        if not event.null_count() and tenants.n_unique() == 1:  # the usual case: no need to group
            happened_us = np.minimum(
                event.cast(pl.Int64).to_numpy(), frame[KNOWN_AT].cast(pl.Int64).to_numpy()
            )
            return {tenants[0]: EPOCH + int(happened_us.max()) * MICROSECOND}
        happened = pl.min_horizontal(self.contract.event_time_field, KNOWN_AT)
        highest = frame.group_by("tenant_id").agg(happened.max())
        return dict(highest.iter_rows())


def _column(table: pa.Table, column: pa.Field) -> pa.Array:
    array = table.column(column.name).combine_chunks()
    return array if array.type == column.type else array.cast(column.type)


def _repeated(topic_id: uuid.UUID, count: int) -> pa.Array:
    values = pa.py_buffer(topic_id.bytes * count)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, values])


def _known_at(messages: Messages) -> np.ndarray:
    """Known time of each message in microseconds since 1970: its header's, NO_HEADER or BAD_HEADER."""
    values = messages.header_values(KNOWN_AT_HEADER)
    if values is None:
        return np.full(len(messages), NO_HEADER, np.int64)
    instants = {value: NO_HEADER if value is None else _instant_us(value) for value in set(values)}
    return np.fromiter(map(instants.__getitem__, values), np.int64, len(messages))


def _instant_us(value: bytes | str | None) -> int:
    try:
        text = value.decode("ascii") if isinstance(value, bytes) else str(value)
        instant = datetime.fromisoformat(text)
    except ValueError:
        return BAD_HEADER
    return BAD_HEADER if instant.tzinfo is None else (instant - EPOCH) // MICROSECOND


def _known_at_refusal(headers: Headers, index: int) -> Refusal:
    value = next(item for name, item in headers if name == KNOWN_AT_HEADER)
    if _instant_us(value) == BAD_HEADER:
        text = f"header {KNOWN_AT_HEADER} is {value!r:.80}; it must be ISO 8601 text with a time zone"
        return Refusal(index, "BadKnownAt", text)
    text = f"header {KNOWN_AT_HEADER} is {value!r:.80}, more than a day after the message was landed"
    return Refusal(index, "KnownAtInFuture", text)


def _dead_letter(message: Record, refusal: Refusal) -> DeadLetter:
    return DeadLetter(
        offset=message.offset,
        key=message.key,
        payload=message.value,
        headers=message.headers,
        error_class=refusal.error_class,
        error_message=_storable(refusal.message),
        schema_id=refusal.schema_id,
    )


def _storable(text: str) -> str:
    """Text that Postgres takes: no null character, no half of a surrogate pair."""
    return text.replace("\x00", "\\0").encode(errors="backslashreplace").decode()
