"""The Azure replay in the tables that the models read, written directly: no Kafka and no dbt.

Names and grains are those of the dbt contracts. Avoid assertions here.
"""

from pathlib import Path

import polars as pl
import psycopg
from adbc_driver_postgresql import dbapi

from ml.datasets.azure_pdm import read_azure_pdm
from ml.datasets.labels import label_hours
from ml.features.history import PlantHistory
from ml.features.metrics import contract_metrics
from ml.models.horizons import HORIZONS


def write_warehouse(database_url: str, folder: Path, tenant_id: str = "azure-pdm") -> PlantHistory:
    """Create the four tables for one tenant, with a ledger and a plant clock; return what went in."""
    history = read_azure_pdm(folder, tenant_id).replay
    write_history(database_url, history)
    return history


def write_history(database_url: str, history: PlantHistory) -> None:
    """The same for any history."""
    tenant_id = history.tenant_id
    with psycopg.connect(database_url) as connection:
        connection.execute("create schema if not exists intermediate; create schema if not exists marts")
        connection.execute(
            "insert into ops.event_watermarks values (%s, 'equipment-sensors', gen_random_uuid(), 0, %s)",
            (tenant_id, history.clock),
        )
        connection.execute(
            "insert into ops.landing_ledger"
            " (batch_id, topic, topic_id, kafka_partition, offset_lo, offset_hi, landed, landed_at)"
            " values (1, 'equipment-sensors', gen_random_uuid(), 0, 0, %(n)s, %(n)s, now())",
            {"n": history.metrics.height},
        )
    tenant = pl.lit(tenant_id).alias("tenant_id")
    absent = [
        pl.lit(None, pl.Float64).alias(f"{metric.name}_{statistic}")
        for metric in contract_metrics()
        for statistic in ("mean", "min", "max")
        if f"{metric.name}_{statistic}" not in history.metrics.columns
    ]
    keys = history.metrics.select("equipment_id", "hour_at").sort("equipment_id", "hour_at")
    clock = history.clock
    assert clock is not None
    labels = keys
    for horizon in HORIZONS:
        labels = labels.with_columns(
            label_hours(keys, history, horizon.length, clock)["is_failure"].alias(
                f"is_failure_within_{horizon.hours}h"
            )
        )
    _write(
        database_url,
        "intermediate",
        "int_equipment_metrics_hourly",
        history.metrics.select(tenant, pl.all(), *absent),
    )
    _write(database_url, "intermediate", "int_failure_labels", labels.select(tenant, pl.all()))
    _write(database_url, "marts", "fact_equipment_events", history.events.select(tenant, pl.all()))
    _write(database_url, "marts", "dim_equipment", history.equipment.select(tenant, pl.all()))


def _write(database_url: str, schema: str, table: str, frame: pl.DataFrame) -> None:
    with dbapi.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(table, frame.to_arrow(), mode="create_append", db_schema_name=schema)
        connection.commit()
