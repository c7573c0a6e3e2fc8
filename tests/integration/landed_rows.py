"""Rows as if landed: straight into raw with their ledger row, for tests of what stands after landing.

Add a source of rows here. Avoid landing's own rules: tests of landing send through a real broker.
"""

import uuid
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import psycopg
from psycopg import sql

from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.contracts.ddl import ensure_day_partition

LANDED_AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
TABLES = {contract.table: contract for contract in load_contracts().values()}


def land(
    connection: psycopg.Connection,
    table: str,
    rows: pl.DataFrame,
    landed_at: datetime = LANDED_AT,
    batch_id: int | None = None,
) -> int:
    """Land rows as one batch of partition 0 and return its batch id.

    `rows` holds contract fields; a column `known_at` stands for the header, its absence for none.
    """
    contract = TABLES[table]
    topic_id = uuid.uuid5(uuid.NAMESPACE_URL, contract.topic)
    first = connection.execute(
        "select coalesce(max(offset_hi), 0) from ops.landing_ledger where topic_id = %s", (topic_id,)
    ).fetchone()[0]
    batch_id = batch_id or connection.execute("select nextval('ops.batch_id')").fetchone()[0]
    if "known_at" not in rows.columns:
        rows = rows.with_columns(pl.lit(landed_at).alias("known_at"))
    rows = rows.with_columns(
        pl.lit(batch_id).alias("batch_id"),
        pl.lit(str(topic_id)).alias("topic_id"),
        pl.lit(0).alias("kafka_partition"),
        pl.int_range(first, first + pl.len()).alias("kafka_offset"),
        pl.lit(landed_at).alias("landed_at"),
    )
    ensure_day_partition(connection, table, landed_at.date())
    statement = sql.SQL("copy raw.{} ({}) from stdin (format csv)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, rows.columns))
    )
    with connection.cursor().copy(statement) as copy:
        copy.write(rows.write_csv(include_header=False, datetime_format="%Y-%m-%dT%H:%M:%S%.6f+00"))
    connection.execute(
        """
        insert into ops.landing_ledger
            (batch_id, topic, topic_id, kafka_partition, offset_lo, offset_hi, landed, landed_at)
        values (%s, %s, %s, 0, %s, %s, %s, %s)
        """,
        (batch_id, contract.topic, topic_id, first, first + rows.height, rows.height, landed_at),
    )
    for tenant_id, event_at in rows.group_by("tenant_id").agg(pl.col("event_at").max()).iter_rows():
        connection.execute(
            """
            insert into ops.event_watermarks (tenant_id, topic, topic_id, kafka_partition, max_event_at)
            values (%s, %s, %s, 0, %s)
            on conflict (tenant_id, topic_id, kafka_partition)
            do update set max_event_at = greatest(event_watermarks.max_event_at, excluded.max_event_at)
            """,
            (tenant_id, contract.topic, topic_id, event_at),
        )
    return batch_id


def azure_rows(folder: Path) -> dict[str, pl.DataFrame]:
    """The Azure PdM replay (machines 1-20, the 90 days with telemetry) by raw table."""
    telemetry = _read(folder / "PdM_telemetry_m1-20_90d.csv.gz")
    first_at, last_at = telemetry["event_at"].min(), telemetry["event_at"].max()

    def within_replay(name: str) -> pl.DataFrame:
        rows = _read(folder / name)
        return rows.filter((pl.col("machineID") <= 20) & (pl.col("event_at") <= last_at))

    errors = within_replay("PdM_errors.csv.gz").rename({"errorID": "error_code"})
    failures = within_replay("PdM_failures.csv.gz").rename({"failure": "component"})
    replacements = within_replay("PdM_maint.csv.gz").rename({"comp": "component"})
    machines = pl.read_csv(folder / "PdM_machines.csv.gz").filter(pl.col("machineID") <= 20)
    registrations = machines.select(
        *_identity(),
        pl.lit(first_at).alias("event_at"),
        pl.lit(first_at).alias("known_at"),
        pl.lit("registration").alias("event_type"),
        pl.lit("azure-pdm-plant").alias("plant_id"),
        pl.format("Machine {}", "machineID").alias("equipment_name"),
        pl.col("model").alias("equipment_model"),
        pl.col("age").cast(pl.Float64).alias("age_years"),
    )
    events = [
        rows.select(*_identity(), "event_at", "known_at", "component", pl.lit(event_type).alias("event_type"))
        for event_type, rows in (("failure", failures), ("component_replacement", replacements))
    ]
    return {
        "equipment_sensors": telemetry.select(
            *_identity(), "event_at", "known_at", "volt", "rotate", "pressure", "vibration"
        ),
        "equipment_status": errors.select(
            *_identity(), "event_at", "known_at", "error_code", pl.lit("error").alias("status")
        ),
        "maintenance_events": pl.concat([registrations, *events], how="diagonal"),
    }


def _identity() -> tuple[pl.Expr, pl.Expr]:
    number = pl.col("machineID").cast(pl.String).str.zfill(3)
    return pl.lit("azure-pdm").alias("tenant_id"), pl.format("azure-pdm-{}", number).alias("equipment_id")


def _read(path: Path) -> pl.DataFrame:
    event_at = pl.col("datetime").str.to_datetime("%Y-%m-%d %H:%M:%S", time_zone="UTC", time_unit="us")
    return pl.read_csv(path).with_columns(event_at.alias("event_at"), event_at.alias("known_at"))
