"""What a topic landed lately: the share that was refused, and a sample of its newest rows.

"Lately" counts back from the topic's newest landing, so that a topic that stands still keeps its verdict. Add
here what a check asks about recent rows. Avoid verdicts: checks have the thresholds.
"""

from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from orchestration.ingest.contracts import ContractField, TopicContract

WINDOW = timedelta(hours=24)
SAMPLE_ROWS = 10_000
SAMPLE_CHARACTERS = 200  # of each text: 10,000 log lines may have 1 MiB each


def invalid_share(connection: psycopg.Connection[Any], topic: str) -> float:
    """Share of the messages of the last 24 h of landing that were refused or discarded; 0 without any.

    Refused messages that a replay has landed since count as landed.
    """
    row = connection.execute(
        """
        with recent as (
            select max(landed_at) - %(window)s as since from ops.landing_ledger where topic = %(topic)s
        ), counted as (
            select coalesce(sum(landed), 0)::float8 as landed,
                coalesce(sum(discarded), 0)::float8 as discarded
            from ops.landing_ledger, recent where topic = %(topic)s and landed_at > since
        ), refused as (
            select count(*)::float8 as letters from ops.dead_letters, recent
            where topic = %(topic)s and landed_at > since and replayed_at is null
        )
        select discarded + letters, landed + discarded + letters from counted, refused
        """,
        {"topic": topic, "window": WINDOW},
    ).fetchone()
    invalid, all_messages = row or (0.0, 0.0)
    return float(invalid) / float(all_messages) if all_messages else 0.0


def newest_rows(
    connection: psycopg.Connection[Any], contract: TopicContract, limit: int = SAMPLE_ROWS
) -> list[dict[str, Any]]:
    """Rows of the newest batches of a topic, at most `limit`: the contract's fields, texts cut short."""
    batches = connection.execute(
        """
        select array_agg(batch_id) from (
            select batch_id, sum(landed) over (order by batch_id desc) - landed as newer
            from ops.landing_ledger where topic = %s and landed > 0 and retired_at is null
        ) as counted where newer < %s
        """,
        (contract.topic, limit),
    ).fetchone()
    statement = sql.SQL("select {fields} from {table} where batch_id = any(%s) limit %s").format(
        fields=sql.SQL(", ").join(map(_column, contract.fields)),
        table=sql.Identifier("raw", contract.table),
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, ((batches[0] if batches else None) or [], limit)).fetchall()


def _column(field: ContractField) -> sql.Composable:
    name = sql.Identifier(field.name)
    if field.physical_type != "string":
        return name
    return sql.SQL("left({name}, {length}) as {name}").format(
        name=name, length=sql.Literal(SAMPLE_CHARACTERS)
    )
