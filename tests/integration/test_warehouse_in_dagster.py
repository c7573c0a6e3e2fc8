"""dbt inside a Dagster run on a real database: row counts, checks, and what a failed check holds back."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import psycopg
import pytest
from landed_rows import land
from warehouse_project import Warehouse

from orchestration.defs.warehouse.assets import prediction_marts, warehouse_models
from orchestration.environment import Environment
from orchestration.resources.dbt import dbt_resource
from orchestration.resources.postgres import PostgresResource

pytestmark = pytest.mark.integration

START = datetime(2026, 10, 1, tzinfo=UTC)
CHAIN = ["intermediate/int_sensor_readings_deduplicated", "intermediate/int_equipment_metrics_hourly"]


def materialize(
    warehouse: Warehouse, state_dir: Path, assets: Sequence[str] = ()
) -> dg.ExecuteInProcessResult:
    environment = Environment(DATABASE_URL=warehouse.url, OPSGRAPH_HOME=state_dir)  # type: ignore[call-arg]
    return dg.materialize(
        [warehouse_models, prediction_marts],
        selection=[dg.AssetKey(key.split("/")) for key in assets] or None,
        resources={"dbt": dbt_resource(environment), "postgres": PostgresResource(url=warehouse.url)},
        raise_on_error=False,
    )


def test_run_reports_rows_and_a_lost_row_stops_what_follows(
    warehouse: Warehouse, dbt_state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids marts that go on above a table that lost a row.

    Three readings of two machine-hours land and build. Then one kept row disappears behind dbt's back:
    the check on the deduplicated table fails, and the hours above it are not built.
    """
    for name in dbt_resource(Environment()).variables:
        monkeypatch.delenv(name, raising=False)
    instants = [START + timedelta(minutes=minutes) for minutes in (10, 20, 80)]
    rows = pl.DataFrame(
        {"tenant_id": "demo-plant", "equipment_id": "CNC-A-101", "event_at": instants, "temperature_c": 60.0}
    ).with_columns(pl.col("event_at").dt.cast_time_unit("us"))
    with psycopg.connect(warehouse.url) as connection:
        land(connection, "equipment_sensors", rows)
        land(
            connection,
            "maintenance_events",
            rows.head(1)
            .drop("temperature_c")
            .with_columns(
                pl.lit("registration").alias("event_type"), pl.lit("plant-north").alias("plant_id")
            ),
        )

    first = materialize(warehouse, dbt_state_dir / "dagster")
    assert first.success
    counts = {
        event.asset_key.to_user_string(): event.materialization.metadata.get("dagster/row_count")
        for event in first.get_asset_materialization_events()
    }
    assert [counts[key].value for key in CHAIN] == [3, 2]
    assert counts["marts/mart_equipment_health"].value == 1
    assert all(evaluation.passed for evaluation in first.get_asset_check_evaluations())

    with psycopg.connect(warehouse.url) as connection:
        connection.execute(
            "delete from intermediate.int_sensor_readings_deduplicated where event_at = %s", (instants[0],)
        )
    second = materialize(warehouse, dbt_state_dir / "dagster", CHAIN)
    assert not second.success
    built = {event.asset_key.to_user_string() for event in second.get_asset_materialization_events()}
    assert built == {CHAIN[0]}
    failed = [each.check_name for each in second.get_asset_check_evaluations() if not each.passed]
    assert failed[0].startswith("landed_rows_are_kept_or_counted")
