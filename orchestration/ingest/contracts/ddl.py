"""DDL of the raw tables: what the generated Alembic revisions run, and the day partitions.

Add to the shape of raw tables here. Avoid unique keys: that nothing lands twice is proved by the
ledger, and a unique index halves the speed of the load. Avoid revisions: `revisions` writes them.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import psycopg
from psycopg import sql

from orchestration.ingest.contracts.arrow import SYSTEM_COLUMNS
from orchestration.ingest.contracts.model import TopicContract
from orchestration.ingest.contracts.physical_types import PHYSICAL_TYPES

RAW_SCHEMA = "raw"
SHARED_COLUMNS = tuple(column.name for column in SYSTEM_COLUMNS if column.default)
"""Where COPY leaves them out, a raw table takes them from the session's settings `opsgraph.<column>`."""
PARTITION_LOCK = 73350002  # one session makes partitions at a time; readers and writers do not wait


def field_columns(contract: TopicContract) -> dict[str, str]:
    """Column definition (`double precision`, `text not null`) of each field of a contract."""
    return {
        field.name: PHYSICAL_TYPES[field.physical_type].postgres + (" not null" if field.is_required else "")
        for field in contract.fields
    }


def create_table(table: str, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Statements that make a raw table.

    Args:
        table: Name without its schema.
        columns: Definition of each contract column.

    Returns:
        The table, partitioned by day of landing so that retention drops whole partitions, and a BRIN
        index on `batch_id`: rows arrive in the order of their batches, and models read by batch.
    """
    lines = [
        f"    {column.name} {column.postgres} not null"
        + (f" default ops.{column.default}('{column.name}')" if column.default else "")
        for column in SYSTEM_COLUMNS
    ]
    lines += [f"    {name} {definition}" for name, definition in columns.items()]
    body = ",\n".join(lines)
    return (
        f"create table {RAW_SCHEMA}.{table} (\n{body}\n) partition by range (landed_at)",
        f"create index {table}_batch_id on {RAW_SCHEMA}.{table} using brin (batch_id)",
    )


def add_columns(table: str, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Statements that add contract columns to an existing raw table."""
    return tuple(
        f"alter table {RAW_SCHEMA}.{table} add column {name} {definition}"
        for name, definition in columns.items()
    )


def partition_name(table: str, day: date) -> str:
    """Name of the partition that holds the rows landed on a day (UTC).

    >>> partition_name("equipment_sensors", date(2026, 11, 21))
    'equipment_sensors_p20261121'
    """
    return f"{table}_p{day:%Y%m%d}"


def ensure_day_partition(connection: psycopg.Connection[Any], table: str, day: date) -> bool:
    """Make the partition of a raw table for the rows landed on a day (UTC), if it is not there.

    The partition is built apart and then attached, which lets readers and writers of the other
    partitions go on; `create table … partition of` would lock them all out. Part of the caller's
    transaction; commit soon, since another lander that needs the same partition waits for it.

    Args:
        connection: Open connection.
        table: Raw table without its schema.
        day: Day of `landed_at` in UTC.

    Returns:
        True if the partition was made.
    """
    name = partition_name(table, day)
    if _exists(connection, name):
        return False
    connection.execute("select pg_advisory_xact_lock(%s)", (PARTITION_LOCK,))
    if _exists(connection, name):
        return False
    partition, parent = sql.Identifier(RAW_SCHEMA, name), sql.Identifier(RAW_SCHEMA, table)
    connection.execute(sql.SQL("create table {} (like {} including defaults)").format(partition, parent))
    connection.execute(
        sql.SQL("alter table {} attach partition {} for values from ({}) to ({})").format(
            parent,
            partition,
            sql.Literal(f"{day.isoformat()} 00:00:00+00"),
            sql.Literal(f"{(day + timedelta(days=1)).isoformat()} 00:00:00+00"),
        )
    )
    return True


def _exists(connection: psycopg.Connection[Any], partition: str) -> bool:
    # Not to_regclass: it answers from the session's catalog cache, which within a transaction may still
    # lack what another session committed while this one waited for the lock.
    row = connection.execute(
        "select exists (select from pg_class where relname = %s and relnamespace = %s::regnamespace)",
        (partition, RAW_SCHEMA),
    ).fetchone()
    return row is not None and bool(row[0])
