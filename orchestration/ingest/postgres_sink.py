"""Writes batches to Postgres: rows, ledger, positions, dead letters and tokens in one transaction.

Add here what must be true together with the rows. Avoid the lake: it follows what was committed here.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

import base64
import json
from collections.abc import Sequence
from datetime import UTC, date
from typing import Any

import psycopg
from psycopg import sql

from orchestration.ingest.batch import Batch, DeadLetter
from orchestration.ingest.contracts import ensure_day_partition
from orchestration.ingest.contracts.ddl import partition_name
from orchestration.ingest.copy_format import CopyStream
from orchestration.ingest.kafka_records import Headers
from orchestration.ingest.ledger import LedgerRow, advance, write_rows
from orchestration.ingest.offsets import PartitionId
from orchestration.ingest.pii import DeadLetterSeal, PiiVault, has_personal_fields
from orchestration.ingest.topics import dead_letter_topic

COPY_BYTES = 256 * 1024  # handed over at a time, so that the client library's buffer stays in the cache


class PostgresSink:
    """Commits batches over one connection."""

    def __init__(
        self, connection: psycopg.Connection[Any], vault: PiiVault, run_id: str | None = None
    ) -> None:
        """Use a connection that nobody else uses.

        Args:
            connection: Connection in autocommit mode; each commit opens its own transaction.
            vault: Where personal values go.
            run_id: Dagster run or service that lands, for the ledger.
        """
        self._connection = connection
        self._vault = vault
        self._run_id = run_id
        self._partitions: set[tuple[str, date]] = set()

    def commit(self, batches: Sequence[tuple[Batch, CopyStream]]) -> None:
        """Write batches with their COPY streams, all or none; one stream may have the rows of several.

        Raises:
            FencedError: Another lander has moved one of the positions.
        """
        days = {_day(batch) for batch, _ in batches if batch.counts.landed}
        with self._connection.transaction():
            advance(self._connection, [(batch.partition, batch.offsets) for batch, _ in batches])
            for table, day in sorted(days - self._partitions):
                ensure_day_partition(self._connection, table, day)
            for batch, stream in batches:
                if stream.columns:
                    # Not into the whole table: to find the partition of each row takes 13 % more.
                    copy_rows(self._connection, partition_name(*_day(batch)), stream)
                self._vault.store(self._connection, batch.subjects)
                write_dead_letters(self._connection, batch)
            write_watermarks(self._connection, [batch for batch, _ in batches])
            write_rows(
                self._connection,
                [
                    LedgerRow(b.batch_id, b.partition, b.offsets, b.counts, b.landed_at, self._run_id)
                    for b, _ in batches
                ],
            )
        self._partitions |= days


def _day(batch: Batch) -> tuple[str, date]:
    """Raw table and day of a batch's rows."""
    return batch.contract.table, batch.landed_at.astimezone(UTC).date()


def copy_rows(connection: psycopg.Connection[Any], table: str, stream: CopyStream) -> None:
    """COPY rows into a raw table or its partition of their day, by column name: later columns stand last.

    Call it within a transaction: what all rows share is set for the transaction alone.
    """
    if stream.shared:
        connection.execute(
            """
            select set_config('opsgraph.' || name, value, true)
            from unnest(%s::text[], %s::text[]) as shared (name, value)
            """,
            (list(stream.shared), list(stream.shared.values())),
        )
    statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(
        sql.Identifier("raw", table),
        sql.SQL(", ").join(map(sql.Identifier, stream.columns)),
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for start in range(0, len(stream.data), COPY_BYTES):
            copy.write(stream.data[start : start + COPY_BYTES])


def write_watermarks(connection: psycopg.Connection[Any], batches: Sequence[Batch]) -> None:
    """Move the plant clocks of the batches' tenants forward."""
    moves = [
        (tenant, batch.partition.topic, batch.partition.topic_id, batch.partition.partition, instant)
        for batch in batches
        for tenant, instant in sorted(batch.watermarks.items())
    ]
    if not moves:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into ops.event_watermarks as w (tenant_id, topic, topic_id, kafka_partition, max_event_at)
            values (%s, %s, %s, %s, %s)
            on conflict (tenant_id, topic_id, kafka_partition)
            do update set max_event_at = excluded.max_event_at where excluded.max_event_at > w.max_event_at
            """,
            moves,
        )


def write_dead_letters(connection: psycopg.Connection[Any], batch: Batch) -> None:
    """Keep the refused messages, and queue them for the dead-letter topic."""
    if not batch.dead_letters:
        return
    place = batch.partition
    seal = DeadLetterSeal(connection) if has_personal_fields(batch.contract) else None
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into ops.dead_letters (
                batch_id, topic, topic_id, kafka_partition, kafka_offset, message_key, payload, headers,
                error_class, error_message, schema_id, landed_at
            ) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    batch.batch_id, place.topic, place.topic_id, place.partition, item.offset, item.key,
                    _kept(item, place, seal), headers_json(item.headers), item.error_class,
                    item.error_message, item.schema_id, batch.landed_at,
                )
                for item in batch.dead_letters
            ],
        )  # fmt: skip
        cursor.executemany(
            "insert into ops.outbox (topic, message_key, payload, headers) values (%s, %s, %s, %s)",
            [
                (
                    dead_letter_topic(place.topic), item.key, _kept(item, place, seal),
                    _outbox_headers(batch, item),
                )
                for item in batch.dead_letters
            ],
        )  # fmt: skip


def _kept(item: DeadLetter, place: PartitionId, seal: DeadLetterSeal | None) -> bytes | None:
    if seal is None or item.payload is None:
        return item.payload
    return seal.seal(item.payload, dead_letter_place(place, item.offset), item.key)


def dead_letter_place(partition: PartitionId, offset: int) -> str:
    """What a sealed payload is bound to: it opens in its own row only."""
    return f"{partition.topic_id}/{partition.partition}/{offset}"


def _outbox_headers(batch: Batch, item: DeadLetter) -> str:
    reason: Headers = [
        ("error_class", item.error_class),
        ("error_message", item.error_message),
        ("source_topic", batch.partition.topic),
        ("source_topic_id", str(batch.partition.topic_id)),
        ("source_partition", str(batch.partition.partition)),
        ("source_offset", str(item.offset)),
    ]
    return headers_json([*item.headers, *reason])


def headers_json(headers: Headers) -> str:
    """Headers as JSON: name and base64 of the value, since a header's value is any bytes."""
    return json.dumps(
        [
            [
                name.encode(errors="replace").decode().replace("\x00", "\\0"),
                None
                if value is None
                else base64.b64encode(value.encode() if isinstance(value, str) else value).decode(),
            ]
            for name, value in headers
        ]
    )


def headers_from_json(stored: Sequence[Sequence[str | None]]) -> list[tuple[str, bytes | None]]:
    """Undo `headers_json` for a value that the database has parsed."""
    return [(str(name), None if value is None else base64.b64decode(value)) for name, value in stored]
