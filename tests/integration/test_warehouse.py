"""The warehouse on the real Azure replay: counts, labels computed apart, models as known at T."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
from landed_rows import azure_rows, land
from polars.testing import assert_frame_equal
from warehouse_project import Warehouse, assert_same_models, database

from orchestration.dbt_invocation import as_of_schema

pytestmark = [pytest.mark.integration, pytest.mark.data]

# Chosen so that a reading, an error of machine 4 and unfinished horizons surround it.
AS_OF = datetime(2015, 2, 1, 6, tzinfo=UTC)

PREDICTION = """
    insert into ml.failure_predictions (
        tenant_id, equipment_id, horizon_hours, as_of, model_name, model_version, failure_probability,
        is_alert, risk_level, recommended_action, contributing_factors, source_vector
    )
    values ('azure-pdm', 'azure-pdm-001', 24, %s, 'failure-24h', '1', %s, true, 'High', 'stop', '[]', '{}')
"""


@pytest.fixture(scope="module")
def built(azure_warehouse: Warehouse) -> Warehouse:
    """The replay built with all of dbt's tests, and predictions before and after AS_OF."""
    with psycopg.connect(azure_warehouse.url) as connection:
        connection.execute(PREDICTION, (AS_OF - timedelta(hours=1), 0.6))
        connection.execute(PREDICTION, (AS_OF + timedelta(hours=1), 0.9))
    azure_warehouse.build(tests=True)
    return azure_warehouse


def test_every_reading_arrives_once(built: Warehouse) -> None:
    """Forbids a lost or doubled row: 20 machines x 90 days x 24 h = 43,200, one reading per hour."""
    assert built.scalar("select count(*) from marts.fact_sensor_readings") == 43_200
    assert built.scalar("select count(*) from intermediate.int_equipment_metrics_hourly") == 43_200
    assert built.scalar("select count(*) from intermediate.int_failure_labels") == 43_200
    assert built.scalar("select count(*) from marts.mart_equipment_health") == 20
    assert built.scalar("select sum(duplicate_rows) from intermediate.int_declared_duplicates") == 0


@pytest.mark.parametrize("horizon_h", [24, 168])
def test_labels_equal_an_independent_computation(
    built: Warehouse, azure_pdm_dir: Path, horizon_h: int
) -> None:
    """Forbids a label that looks back, is off by one hour, or calls an immature hour negative.

    Computed here from the failures alone, machine by machine, by comparing each hour with each failure.
    """
    rows = azure_rows(azure_pdm_dir)
    hours = rows["equipment_sensors"].select("equipment_id", pl.col("event_at").alias("hour_at"))
    failures = rows["maintenance_events"].filter(pl.col("event_type") == "failure")
    clock = hours["hour_at"].max()
    horizon = pl.duration(hours=horizon_h)
    seen = (
        hours.join(failures.select("equipment_id", "event_at"), on="equipment_id")
        .filter(
            (pl.col("event_at") > pl.col("hour_at")) & (pl.col("event_at") <= pl.col("hour_at") + horizon)
        )
        .select("equipment_id", "hour_at", pl.lit(True).alias("is_seen"))
        .unique()
    )
    expected = (
        hours.join(seen, on=["equipment_id", "hour_at"], how="left")
        .with_columns(
            pl.when(pl.col("is_seen"))
            .then(True)
            .when(pl.col("hour_at") + horizon <= clock)
            .then(False)
            .alias("label")
        )
        .select("equipment_id", "hour_at", "label")
        .sort("equipment_id", "hour_at")
    )
    label = f"is_failure_within_{horizon_h}h"
    actual = built.rows(
        f"select equipment_id, hour_at, {label} as label from intermediate.int_failure_labels order by 1, 2"
    )
    assert_frame_equal(actual, expected, check_dtypes=False)


def test_hourly_metrics_equal_the_readings(built: Warehouse, azure_pdm_dir: Path) -> None:
    """Forbids a shifted hour: with one reading on each full hour, the mean is the reading of `hour_at`."""
    expected = azure_rows(azure_pdm_dir)["equipment_sensors"].sort("equipment_id", "event_at")
    actual = built.rows(
        "select equipment_id, hour_at as event_at, volt_mean as volt, rotate_max as rotate, "
        "pressure_min as pressure, vibration_mean as vibration "
        "from intermediate.int_equipment_metrics_hourly order by 1, 2"
    )
    assert_frame_equal(actual, expected.select(actual.columns), check_dtypes=False)


def test_health_reads_the_latest_prediction_and_day(built: Warehouse, azure_pdm_dir: Path) -> None:
    """Forbids a window that ends at the wall clock (it would be empty) and a stale prediction."""
    telemetry = azure_rows(azure_pdm_dir)["equipment_sensors"]
    clock = telemetry["event_at"].max()
    last_day = telemetry.filter(
        (pl.col("equipment_id") == "azure-pdm-001") & (pl.col("event_at") > clock - timedelta(hours=24))
    )
    row = built.rows("select * from marts.mart_equipment_health where equipment_id = 'azure-pdm-001'").row(
        0, named=True
    )
    assert row["reading_count_24h"] == 24
    assert row["last_reading_time"] == clock
    assert row["avg_vibration_24h"] == pytest.approx(last_day["vibration"].mean())
    assert row["avg_temp_24h"] is None
    assert set(row["avg_metrics_24h"]) == {"volt", "rotate", "pressure", "vibration"}
    assert (row["predicted_failure_prob"], row["health_status"]) == (0.9, "Critical")


def test_as_of_build_equals_a_plant_that_ended_then(
    built: Warehouse, postgres_port: int, azure_pdm_dir: Path
) -> None:
    """Forbids knowledge of the future in an as-of build.

    The other database only ever received the rows known by AS_OF, with the prediction made by then, and
    is built in the plain way. Every model has to hold the same rows.
    """
    built.build(as_of=AS_OF)
    with database(postgres_port, "warehouse_known") as url:
        known = Warehouse(url, built.state_dir.parent / "known")
        with psycopg.connect(url) as connection:
            for table, rows in azure_rows(azure_pdm_dir).items():
                land(connection, table, rows.filter(pl.col("known_at") <= AS_OF))
            connection.execute(PREDICTION, (AS_OF - timedelta(hours=1), 0.6))
        known.build()
        assert_same_models(built, known, AS_OF)
    labels = f"{as_of_schema('intermediate', AS_OF)}.int_failure_labels"
    # The last 24 hours of 20 machines are immature unless a failure was seen; later ones are not there.
    assert built.scalar(f"select max(hour_at) from {labels}") == AS_OF
    assert built.scalar(f"select count(*) from {labels} where not is_mature_24h") > 0
    assert built.scalar(f"select count(*) from {as_of_schema('marts', AS_OF)}.mart_equipment_health") == 20


def test_as_of_build_after_the_end_of_the_data_invents_no_negatives(built: Warehouse) -> None:
    """Forbids a clock beyond the data: as known years later, the last hours are as immature as they were."""
    later = datetime(2026, 3, 1, tzinfo=UTC)
    built.build(["int_failure_labels"], as_of=later, tests=True)
    order = "equipment_id, hour_at"
    assert_frame_equal(
        built.model("intermediate", "int_failure_labels", order, as_of=later),
        built.model("intermediate", "int_failure_labels", order),
    )
