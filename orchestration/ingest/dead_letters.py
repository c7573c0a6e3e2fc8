"""Dead letters: what landing refused, to be looked at and landed after a fix.

Add what a person does with a refused message. Avoid refusing: `decode` and `rules` do that.

A replay decodes the kept bytes under the contract as it is now. What passes lands with its first
offset, a batch id of its own and the time of the replay as known time (before it, nobody could have
known the row). The ledger gets a transfer: a row of span 0 with `landed` n and `dead_lettered` -n, so
that all sums stay right and the batch is new to every reader that works by batch id.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import psycopg

from orchestration.ingest.batch import KNOWN_AT_HEADER, Batch, BatchBuilder
from orchestration.ingest.consume import Chunk
from orchestration.ingest.contracts import ContractError, TopicContract, ensure_day_partition
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.copy_format import CopyStream
from orchestration.ingest.intake.refused import PREFIX, as_message
from orchestration.ingest.kafka_records import Messages, Record
from orchestration.ingest.ledger import Counts, LedgerRow, next_batch_ids, write_rows
from orchestration.ingest.offsets import PartitionId, Range
from orchestration.ingest.pii import DeadLetterSeal, PiiVault
from orchestration.ingest.poison import build_around_poison
from orchestration.ingest.postgres_sink import (
    copy_rows,
    dead_letter_place,
    headers_from_json,
    write_watermarks,
)
from orchestration.ingest.producer import encoder_of
from orchestration.ingest.services import LandingServices

REPLAY_LOCK = 73350003  # one replay at a time, so that its batch ids are committed in their order


@dataclass(frozen=True)
class DeadLetterRow:
    """One row of `ops.dead_letters`."""

    dead_letter_id: int
    batch_id: int
    topic: str
    topic_id: uuid.UUID
    kafka_partition: int
    kafka_offset: int
    message_key: bytes | None
    payload: bytes | None
    headers: list[list[str | None]]
    error_class: str
    error_message: str
    schema_id: int | None
    landed_at: datetime
    replayed_at: datetime | None
    replay_batch_id: int | None

    @property
    def partition(self) -> PartitionId:
        """Where it came from."""
        return PartitionId(self.topic, self.topic_id, self.kafka_partition)


@dataclass(frozen=True)
class Selection:
    """Which dead letters are meant; every condition that is given must hold."""

    ids: Sequence[int] = ()
    topic: str | None = None
    error_class: str | None = None
    is_replayed: bool | None = False
    limit: int | None = None


@dataclass(frozen=True)
class ReplayReport:
    """What a replay did.

    Attributes:
        landed: Messages that became rows.
        discarded: Messages that the contract now says to drop.
        refused: Messages that stay dead letters, with today's reason.
        batch_ids: Ledger transfers that were written.
    """

    landed: int
    discarded: int
    refused: tuple[tuple[int, str], ...]
    batch_ids: tuple[int, ...]


def find(connection: psycopg.Connection[Any], selection: Selection) -> list[DeadLetterRow]:
    """Dead letters of a selection, oldest first."""
    return _select(connection, selection, lock=False)


def _select(connection: psycopg.Connection[Any], selection: Selection, lock: bool) -> list[DeadLetterRow]:
    rows = connection.execute(
        f"""
        select dead_letter_id, batch_id, topic, topic_id, kafka_partition, kafka_offset, message_key, payload,
               headers, error_class, error_message, schema_id, landed_at, replayed_at, replay_batch_id
        from ops.dead_letters
        where (%(ids)s::bigint[] is null or dead_letter_id = any(%(ids)s))
          and (%(topic)s::text is null or topic = %(topic)s)
          and (%(error_class)s::text is null or error_class = %(error_class)s)
          and (%(is_replayed)s::boolean is null or (replayed_at is not null) = %(is_replayed)s)
        order by topic, topic_id, kafka_partition, kafka_offset
        limit %(limit)s
        {"for update" if lock else ""}
        """,  # noqa: S608 - the only part that varies is one of two literals
        {
            "ids": list(selection.ids) or None,
            "topic": selection.topic,
            "error_class": selection.error_class,
            "is_replayed": selection.is_replayed,
            "limit": selection.limit,
        },
    ).fetchall()
    seal = DeadLetterSeal(connection)
    found = [DeadLetterRow(*row) for row in rows]
    return [
        replace(
            item,
            payload=seal.open(
                item.payload, dead_letter_place(item.partition, item.kafka_offset), item.message_key
            ),
        )
        for item in found
    ]


def replay(
    services: LandingServices, contracts: Mapping[str, TopicContract], selection: Selection
) -> ReplayReport:
    """Land the dead letters of a selection that pass under the contract as it is now.

    Args:
        services: Addresses; all is one transaction in Postgres.
        contracts: Contracts by topic.
        selection: Which; those that were replayed before are never taken again.
    """
    catalog = services.schema_catalog(contracts)
    landed = discarded = 0
    refused: list[tuple[int, str]] = []
    batch_ids: list[int] = []
    with (
        psycopg.connect(services.database_url, autocommit=True) as keys,
        psycopg.connect(services.database_url) as connection,
    ):
        connection.execute("select pg_advisory_xact_lock(%s)", (REPLAY_LOCK,))
        vault = PiiVault(keys)
        letters = _select(connection, replace(selection, is_replayed=False), lock=True)
        for partition in dict.fromkeys(item.partition for item in letters):
            own = [item for item in letters if item.partition == partition]
            contract = contracts.get(partition.topic)
            if contract is None:
                reason = f"topic {partition.topic} has no contract any more; bring it back to replay this"
                refused += [(item.dead_letter_id, reason) for item in own]
                continue
            own, still_refused = _as_messages(contract, catalog, own)
            refused += still_refused
            if not own:
                continue
            (batch_id,) = next_batch_ids(connection, 1)
            builder = BatchBuilder(contract, catalog, vault)
            batch, stream = build_around_poison(builder, _chunk(own), batch_id, datetime.now(UTC))
            reasons = {item.offset: item.error_message for item in batch.dead_letters}
            refused += [
                (item.dead_letter_id, reasons[item.kafka_offset])
                for item in own
                if item.kafka_offset in reasons
            ]
            passed = [item for item in own if item.kafka_offset not in reasons]
            if not passed:
                continue
            _land(connection, batch, stream, vault, passed)
            landed += batch.counts.landed
            discarded += batch.counts.discarded
            batch_ids.append(batch_id)
    return ReplayReport(landed, discarded, tuple(refused), tuple(batch_ids))


def _as_messages(
    contract: TopicContract, catalog: SchemaCatalog, letters: Sequence[DeadLetterRow]
) -> tuple[list[DeadLetterRow], list[tuple[int, str]]]:
    """Rows that a source's intake refused, as the messages that it would send today; others as they are.

    Returns:
        The letters that can be landed, and the others with today's reason.
    """
    encode = cache(lambda: encoder_of(contract, catalog))
    ready: list[DeadLetterRow] = []
    refused: list[tuple[int, str]] = []
    for item in letters:
        if item.payload is None or not item.payload.startswith(PREFIX):
            ready.append(item)
            continue
        try:
            ready.append(replace(item, payload=as_message(contract, item.payload, encode())))
        except ContractError as error:
            refused.append((item.dead_letter_id, str(error)))
    return ready, refused


def _chunk(letters: Sequence[DeadLetterRow]) -> Chunk:
    """The kept messages as if they had just been read; their own known time is dropped."""
    records = [
        Record(
            item.kafka_offset, item.message_key, item.payload,
            [pair for pair in headers_from_json(item.headers) if pair[0] != KNOWN_AT_HEADER],
        )
        for item in letters
    ]  # fmt: skip
    lo, hi = letters[0].kafka_offset, letters[-1].kafka_offset + 1
    return Chunk(letters[0].partition, lo, hi, Messages.of(records))


def _land(
    connection: psycopg.Connection[Any],
    batch: Batch,
    stream: CopyStream,
    vault: PiiVault,
    passed: Sequence[DeadLetterRow],
) -> None:
    if batch.counts.landed:
        ensure_day_partition(connection, batch.contract.table, batch.landed_at.date())
        copy_rows(connection, batch.contract.table, stream)
    vault.store(connection, batch.subjects)
    write_watermarks(connection, [batch])
    first = passed[0].kafka_offset
    counts = Counts(
        landed=batch.counts.landed,
        dead_lettered=-len(passed),
        discarded=batch.counts.discarded,
        discarded_values=batch.counts.discarded_values,
    )
    transfer = LedgerRow(
        batch.batch_id, batch.partition, Range(first, first), counts, batch.landed_at, "replay"
    )
    write_rows(connection, [transfer])
    connection.execute(
        "update ops.dead_letters set replayed_at = %s, replay_batch_id = %s where dead_letter_id = any(%s)",
        (batch.landed_at, batch.batch_id, [item.dead_letter_id for item in passed]),
    )
