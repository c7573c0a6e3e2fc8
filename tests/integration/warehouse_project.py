"""Runs dbt in this process against a test's database, with one kept parse per kind of build.

A dbt process costs 5 s to start on two cores; the same call in this process costs 1 s. Add what
several warehouse tests need to run or read models. Avoid rows: `landed_rows` has them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal

from orchestration.dbt_invocation import as_of_schema, build_arguments, dbt_environment, target_dir

# Model and the order of its rows; everything that readers of the warehouse use.
MODELS = {
    "intermediate": {
        "int_sensor_readings_deduplicated": "tenant_id, equipment_id, event_at",
        "int_equipment_metrics_hourly": "tenant_id, equipment_id, hour_at",
        "int_failure_labels": "tenant_id, equipment_id, hour_at",
        "int_declared_duplicates": "raw_table, tenant_id",
    },
    "marts": {
        "dim_equipment": "tenant_id, equipment_id",
        "dim_plant": "tenant_id, plant_id",
        "dim_date": "date_on",
        "fact_sensor_readings": "tenant_id, equipment_id, event_at",
        "fact_equipment_events": "tenant_id, equipment_id, event_at, event_type, code",
        "mart_equipment_health": "tenant_id, equipment_id",
        "mart_predictive_maintenance": "tenant_id, equipment_id",
        "fact_quality_inspections": "tenant_id, inspection_id",
        "fact_production_metrics": "tenant_id, equipment_id, produced_on",
        "mart_quality_dashboard": "tenant_id, equipment_id, inspected_on",
        "mart_production_kpis": "tenant_id, equipment_id, produced_on",
    },
}


@dataclass(frozen=True)
class Warehouse:
    """dbt over one database.

    Attributes:
        url: The database.
        state_dir: Where dbt keeps its parse, which holds the database's name: one folder per name.
    """

    url: str
    state_dir: Path

    def build(
        self,
        select: Sequence[str] = (),
        as_of: datetime | None = None,
        full_refresh: bool = False,
        tests: bool = False,
    ) -> None:
        """Build, without dbt's tests unless asked for; fails with the nodes that did not succeed."""
        arguments = build_arguments(select, as_of, full_refresh)
        if not tests:
            arguments += ["--exclude-resource-type", "test", "unit_test"]
        assert self.dbt(arguments, as_of) == []

    def dbt(self, arguments: Sequence[str], as_of: datetime | None = None) -> list[str]:
        """Call dbt, and return the names of the nodes that did not succeed."""
        from dbt.cli.main import dbtRunner

        with pytest.MonkeyPatch.context() as patch:
            for name, value in dbt_environment(self.url, self.state_dir).items():
                patch.setenv(name, value)
            target = target_dir(self.state_dir, as_of)
            result = dbtRunner().invoke([*arguments, "--quiet", "--target-path", str(target)])
        if result.exception:
            raise result.exception
        return [
            f"{node.node.name}: {node.message}"
            for node in result.result.results
            if node.status not in {"success", "pass", "no-op"}
        ]

    def rows(self, query: str) -> pl.DataFrame:
        """Result of a query as a frame; the query orders it."""
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(query)
            names = [column.name for column in cursor.description]
            return pl.DataFrame(cursor.fetchall(), schema=names, orient="row", infer_schema_length=None)

    def scalar(self, query: str) -> object:
        """First value of a query's first row."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchone()[0]

    def model(self, layer: str, name: str, order_by: str, as_of: datetime | None = None) -> pl.DataFrame:
        """All rows of a model, without the columns of its landing, which differ between databases."""
        schema = as_of_schema(layer, as_of) if as_of else layer
        frame = self.rows(f"select * from {schema}.{name} order by {order_by}")
        return frame.drop("batch_id", "topic_id", "kafka_offset", "landed_at", strict=False)


@contextmanager
def database(port: int, name: str) -> Iterator[str]:
    """A migrated database of a given name, gone afterwards."""
    server = f"postgresql://postgres@127.0.0.1:{port}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"create database {name} template template_opsgraph")
    try:
        yield f"{server}/{name}"
    finally:
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)")


def assert_same_models(rebuilt: Warehouse, known: Warehouse, as_of: datetime) -> None:
    """Every model of an as-of build holds the rows of a plain build of another database."""
    for layer, models in MODELS.items():
        for name, order_by in models.items():
            left = rebuilt.model(layer, name, order_by, as_of=as_of)
            right = known.model(layer, name, order_by)
            assert_frame_equal(left, right, check_exact=False, rel_tol=1e-9, abs_tol=1e-12)
