"""What the stores hold of a topic: raw table, lake table, dead letters and findings, counted.

Add a store here when the ledger must agree with it. Avoid comparing: `ledger_check` does.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

import uuid
from collections.abc import Mapping
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.lake import Lake, LakePosition, PartitionKey, position_of
from orchestration.ingest.offsets import Range
from orchestration.ingest.services import LandingServices

RowsPerBatch = Mapping[tuple[uuid.UUID, int, int], int]
"""Rows by (topic id, partition, batch id)."""


def raw_rows(connection: psycopg.Connection[Any], table: str, first_batch: int) -> RowsPerBatch:
    """Rows of a raw table by batch, from a batch on: its index on batches spares the older rows."""
    query = sql.SQL(
        "select topic_id, kafka_partition, batch_id, count(*) from {} where batch_id >= %s group by 1, 2, 3"
    )
    rows = connection.execute(query.format(sql.Identifier("raw", table)), (first_batch,))
    return {(topic_id, partition, batch_id): count for topic_id, partition, batch_id, count in rows}


def open_dead_letters(connection: psycopg.Connection[Any], topic: str) -> dict[PartitionKey, int]:
    """Dead letters that wait for a replay, by partition."""
    rows = connection.execute(
        "select topic_id, kafka_partition, count(*) from ops.dead_letters "
        "where topic = %s and replayed_at is null group by 1, 2",
        (topic,),
    )
    return {(topic_id, partition): count for topic_id, partition, count in rows}


def findings(connection: psycopg.Connection[Any], topic: str) -> dict[PartitionKey, list[tuple[Range, str]]]:
    """What landings have found lost, by partition."""
    rows = connection.execute(
        "select topic_id, kafka_partition, offset_lo, offset_hi, message from ops.landing_findings "
        "where topic = %s order by finding_id",
        (topic,),
    )
    found: dict[PartitionKey, list[tuple[Range, str]]] = {}
    for topic_id, partition, lo, hi, message in rows:
        found.setdefault((topic_id, partition), []).append((Range(lo, hi), message))
    return found


def lake_rows(
    services: LandingServices, contract: TopicContract, first_batch: int
) -> tuple[RowsPerBatch | None, LakePosition]:
    """Rows of the lake table by batch, from a batch on; None where there is no table yet.

    Files whose highest batch is older are not opened.
    """
    table = Lake(services.lake_url, services.catalog_uri).existing_table(contract)
    if table is None:
        return None, LakePosition()
    columns = ("topic_id", "kafka_partition", "batch_id")
    counted: dict[tuple[uuid.UUID, int, int], int] = {}
    newer = table.scan(row_filter=f"batch_id >= {first_batch}", selected_fields=columns)
    for rows in newer.to_arrow_batch_reader():
        frame = pl.DataFrame(pl.from_arrow(rows))
        for topic_id, partition, batch_id, count in frame.group_by(columns).len().iter_rows():
            key = (uuid.UUID(bytes=topic_id), partition, batch_id)
            counted[key] = counted.get(key, 0) + count
    return counted, position_of(table)
