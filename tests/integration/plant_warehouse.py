"""The simulated plant in the tables that anomaly, forecast and quality models read, written directly.

Names and grains are those of the dbt contracts. Avoid assertions here.
"""

from datetime import timedelta

import polars as pl
import psycopg
from adbc_driver_postgresql import dbapi

from ml.features.metrics import contract_metrics
from orchestration.ingest.simulators.clock import PLANT_START
from orchestration.ingest.simulators.fleet import FLEET
from orchestration.ingest.simulators.plant import DEFAULT_TENANT, PlantSimulator

TENANT = DEFAULT_TENANT
INSTANT = pl.Datetime("us", "UTC")


def write_plant(database_url: str, days: int, seed: int = 7, plant: PlantSimulator | None = None) -> None:
    """Create and fill the tables with the plant's first days, with its clock at their end."""
    simulator = plant or PlantSimulator(seed)
    window = simulator.window(PLANT_START, PLANT_START + timedelta(days=days)).frames
    readings = window["equipment-sensors"].unique(["equipment_id", "event_at"], keep="first")
    lots = window["quality-metrics"].unique("inspection_id", keep="first")
    clock = readings["event_at"].max()
    _write(database_url, "intermediate", "int_equipment_metrics_hourly", _hours(readings))
    _write(database_url, "marts", "dim_equipment", _machines())
    _write(database_url, "marts", "fact_equipment_events", _events(window["maintenance-events"]))
    _write(database_url, "marts", "fact_sensor_readings", _with_all_metrics(readings))
    _write(database_url, "marts", "fact_quality_inspections", lots)
    _write(database_url, "marts", "fact_production_metrics", _production(lots))
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into ops.event_watermarks values (%s, 'equipment-sensors', gen_random_uuid(), 0, %s)",
            (TENANT, clock),
        )


def _hours(readings: pl.DataFrame) -> pl.DataFrame:
    metrics = [metric.name for metric in contract_metrics() if metric.name in readings.columns]
    hour_at = (pl.col("event_at") - timedelta(microseconds=1)).dt.truncate("1h") + timedelta(hours=1)
    hours = readings.group_by("tenant_id", "equipment_id", hour_at.alias("hour_at")).agg(
        pl.col("known_at").max(),
        *(pl.col(name).mean().alias(f"{name}_mean") for name in metrics),
        *(pl.col(name).min().alias(f"{name}_min") for name in metrics),
        *(pl.col(name).max().alias(f"{name}_max") for name in metrics),
    )
    absent = [
        pl.lit(None, pl.Float64).alias(f"{metric.name}_{statistic}")
        for metric in contract_metrics()
        for statistic in ("mean", "min", "max")
        if metric.name not in metrics
    ]
    return hours.with_columns(absent)


def _with_all_metrics(readings: pl.DataFrame) -> pl.DataFrame:
    absent = [
        pl.lit(None, pl.Float64).alias(metric.name)
        for metric in contract_metrics()
        if metric.name not in readings.columns
    ]
    return readings.with_columns(absent)


def _machines() -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "tenant_id": TENANT,
                "equipment_id": machine.equipment_id,
                "equipment_model": machine.model.name,
                "plant_id": machine.plant_id,
                "age_years": machine.age_years,
            }
            for machine in FLEET
        ]
    )


def _events(maintenance: pl.DataFrame) -> pl.DataFrame:
    return maintenance.select(
        "tenant_id",
        "equipment_id",
        "event_at",
        "event_type",
        pl.col("component").alias("code"),
        "known_at",
    )


def _production(lots: pl.DataFrame) -> pl.DataFrame:
    return lots.group_by("tenant_id", "equipment_id", pl.col("event_at").dt.date().alias("produced_on")).agg(
        pl.col("produced_count").sum().alias("produced_units"),
        pl.col("inspected_count").sum().alias("inspected_units"),
        pl.col("defect_count").sum().alias("defective_units"),
        pl.col("known_at").max(),
    )


def _write(database_url: str, schema: str, table: str, frame: pl.DataFrame) -> None:
    with dbapi.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(f"create schema if not exists {schema}")
        cursor.adbc_ingest(table, frame.to_arrow(), mode="create_append", db_schema_name=schema)
        connection.commit()
