"""Builds a batch around messages that make building fail for a reason that nobody foresaw.

Without this one such message would stop its topic for ever: the position does not move, and the next
run meets it again. Add nothing here for a fault that is known: `decode` and `rules` name those.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from confluent_kafka import KafkaException

from orchestration.ingest.batch import Batch, BatchBuilder
from orchestration.ingest.consume import Chunk
from orchestration.ingest.contracts.ddl import SHARED_COLUMNS
from orchestration.ingest.contracts.schema_catalog import SchemaRegistryUnavailableError
from orchestration.ingest.copy_format import NO_ROWS, CopyStream, copy_stream
from orchestration.ingest.decode import Refusal
from orchestration.ingest.offsets import LandingError

NOT_THE_MESSAGE = (
    psycopg.Error, KafkaException, LandingError, SchemaRegistryUnavailableError, OSError,
    MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit,
)  # fmt: skip
"""Failures that say nothing about a message. Everything else counts, also what is no `Exception`: the
panics of polars and of other native libraries are not."""
SHOWN_CHARACTERS = 200
FEW_MESSAGES = 10_000  # more than these cost more than the steps, and are one COPY each with shared values
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Attempt:
    """One way to build a batch from the messages of a chunk."""

    builder: BatchBuilder
    chunk: Chunk
    batch_id: int
    landed_at: datetime

    def build(self, refused: list[Refusal]) -> tuple[Batch, CopyStream]:
        batch = self.builder.build(self.chunk, self.batch_id, self.landed_at, refused)
        return batch, copy_stream(batch.rows, SHARED_COLUMNS)

    def failures(self, first: int, count: int) -> Iterator[tuple[int, BaseException]]:
        """The messages that fail alone, found by halving: one among 50,000 costs two builds' time."""
        chunk = self.chunk
        part = Chunk(chunk.partition, chunk.lo, chunk.hi, chunk.messages[first : first + count])
        try:
            _Attempt(self.builder, part, self.batch_id, self.landed_at).build([])
        except NOT_THE_MESSAGE:
            raise
        except BaseException as error:
            if count == 1:
                yield first, error
                return
        else:
            return
        half = count // 2
        yield from self.failures(first, half)
        yield from self.failures(first + half, count - half)


def build_small(
    builder: BatchBuilder, chunks: Sequence[Chunk], batch_ids: Sequence[int], landed_at: datetime
) -> list[tuple[Batch, CopyStream]]:
    """Build small chunks of a topic together where nothing speaks against it, else one by one.

    Args:
        builder: Builder of the topic.
        chunks: Of different partitions; they are to be committed in one transaction.
        batch_ids: One per chunk.
        landed_at: Landing time.

    Returns:
        A batch per chunk; a COPY stream may have the rows of the chunks after it, whose streams are empty.
    """
    built: list[tuple[Batch, CopyStream]] = []
    while len(built) < len(chunks):
        first = last = len(built)
        count = 0
        while last < len(chunks) and (last == first or count + len(chunks[last].messages) <= FEW_MESSAGES):
            count += len(chunks[last].messages)
            last += 1
        built += _build_group(builder, chunks[first:last], batch_ids[first:last], landed_at)
    return built


def _build_group(
    builder: BatchBuilder, chunks: Sequence[Chunk], batch_ids: Sequence[int], landed_at: datetime
) -> list[tuple[Batch, CopyStream]]:
    if len(chunks) > 1:
        try:
            batches, rows = builder.build_together(chunks, batch_ids, landed_at)
            streams = [copy_stream(rows, SHARED_COLUMNS), *(NO_ROWS for _ in batches[1:])]
            return list(zip(batches, streams, strict=True))
        except NOT_THE_MESSAGE:
            raise
        except BaseException:
            log.debug("a chunk of %s is built alone", builder.contract.topic, exc_info=True)
    return [
        build_around_poison(builder, chunk, batch_id, landed_at)
        for chunk, batch_id in zip(chunks, batch_ids, strict=True)
    ]


def build_around_poison(
    builder: BatchBuilder, chunk: Chunk, batch_id: int, landed_at: datetime
) -> tuple[Batch, CopyStream]:
    """Build a batch and its COPY stream; messages that make this raise become dead letters.

    Args:
        builder: Builder of the chunk's topic.
        chunk: Messages and their range.
        batch_id: Id of the ledger row.
        landed_at: Landing time.

    Returns:
        The batch and its rows as Postgres takes them. The error class of a dead letter that nobody
        foresaw is the name of the exception that its message raises.

    Raises:
        Exception: A failure of the surroundings, or one that no single message causes.
    """
    attempt = _Attempt(builder, chunk, batch_id, landed_at)
    try:
        return attempt.build([])
    except NOT_THE_MESSAGE:
        raise
    except BaseException:
        poison = [
            _refusal(builder, index, error) for index, error in attempt.failures(0, len(chunk.messages))
        ]
        if not poison:
            raise
    return attempt.build(poison)


def _refusal(builder: BatchBuilder, index: int, error: BaseException) -> Refusal:
    kind = type(error).__name__
    text = f"reading the message raised {kind}"
    if not any(item.is_pii for item in builder.contract.fields):  # the text may repeat a value
        text += f": {error!s:.{SHOWN_CHARACTERS}}"
    return Refusal(index, kind, text)
