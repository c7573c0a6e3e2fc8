"""How long the warehouse takes: from nothing over half a year of a plant, and for one hour more.

`make bench ONLY=warehouse`. A real Postgres with fsync on; dbt runs as its own process, as in a
Dagster run, with the tests of an hourly build.
"""

import math
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg

from deployment.embedded import postgres
from deployment.embedded.service import running
from orchestration.dbt_invocation import (
    DBT_PROJECT_DIR,
    build_arguments,
    dbt_command,
    dbt_environment,
    process_environment,
    target_dir,
)
from orchestration.figures import Figure, report
from orchestration.migrations import upgrade
from tests.conftest import free_port
from tests.integration.landed_rows import land

COMMAND = "make bench ONLY=warehouse"
MACHINES, SLOT, INSTANTS = 20, timedelta(minutes=15), 17_500  # 350,000 readings, 182 days
STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 25_000
WAVES = {  # level, spread, period in slots
    "temperature_c": (60.0, 8.0, 96),
    "vibration_mm_s": (2.5, 0.4, 37),
    "pressure_bar": (160.0, 5.0, 51),
    "rotation_rpm": (3000.0, 200.0, 23),
    "power_kw": (11.0, 2.0, 96),
}
HOURLY = ["--exclude-resource-type", "unit_test", "--exclude", "path:models/staging/_*__sources.yml"]


def readings(first: int, instants: int) -> pl.DataFrame:
    """Readings of the plant from one instant's number on; one in a hundred comes twice."""
    slot = pl.col("slot")
    at = pl.DataFrame({"slot": range(first, first + instants)}).select(
        (pl.lit(STARTED_AT) + slot * SLOT).dt.cast_time_unit("us").alias("event_at"),
        *[
            (level + spread * (slot * 2 * math.pi / period).sin()).alias(metric)
            for metric, (level, spread, period) in WAVES.items()
        ],
    )
    machines = pl.DataFrame({"equipment_id": [f"CNC-A-{101 + number}" for number in range(MACHINES)]})
    rows = at.join(machines, how="cross").with_columns(
        pl.lit("demo-plant").alias("tenant_id"), pl.col("event_at").alias("known_at")
    )
    return pl.concat([rows, rows.gather_every(100)])


def failures() -> pl.DataFrame:
    """A failure of each machine every three weeks."""
    machines = pl.DataFrame({"machine": range(MACHINES)})
    failed_at = pl.lit(STARTED_AT) + pl.duration(days=pl.col("machine") + 21 * pl.col("number"))
    return machines.join(pl.DataFrame({"number": range(8)}), how="cross").select(
        pl.lit("demo-plant").alias("tenant_id"),
        pl.format("CNC-A-{}", pl.col("machine") + 101).alias("equipment_id"),
        failed_at.dt.cast_time_unit("us").alias("event_at"),
        failed_at.dt.cast_time_unit("us").alias("known_at"),
        pl.lit("failure").alias("event_type"),
        pl.lit("spindle_bearing").alias("component"),
    )


@contextmanager
def landed_plant() -> Iterator[tuple[str, Path]]:
    """A Postgres that holds the landed plant, and a state folder."""
    with tempfile.TemporaryDirectory(prefix="opsgraph-bench-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        postgres.initialise(folder / "postgres")
        with running(postgres.service(folder / "postgres", port), folder / "logs"):
            postgres.create_databases(port)
            url = f"postgresql://postgres@127.0.0.1:{port}/opsgraph"
            upgrade(url)
            with psycopg.connect(url) as connection:
                rows = readings(0, INSTANTS)
                for first in range(0, rows.height, BATCH):
                    land(connection, "equipment_sensors", rows.slice(first, BATCH))
                land(connection, "maintenance_events", failures())
            yield url, folder / "state"


def build_seconds(url: str, state_dir: Path, full_refresh: bool = False) -> float:
    """Wall time of one hourly build."""
    arguments = [*build_arguments(full_refresh=full_refresh), *HOURLY, "--quiet"]
    environment = process_environment(dbt_environment(url, state_dir))
    begun = time.perf_counter()
    subprocess.run(
        dbt_command(arguments, target_dir(state_dir)), env=environment, cwd=DBT_PROJECT_DIR, check=True
    )
    return time.perf_counter() - begun


def main() -> None:
    """Measure and report."""
    with landed_plant() as (url, state_dir):
        cold = build_seconds(url, state_dir)
        full = build_seconds(url, state_dir, full_refresh=True)
        with psycopg.connect(url) as connection:
            land(connection, "equipment_sensors", readings(INSTANTS, 4))
        hour = build_seconds(url, state_dir)
        with psycopg.connect(url) as connection:
            kept = connection.execute("select count(*) from marts.fact_sensor_readings").fetchone()[0]
    report(
        "warehouse",
        [
            Figure("warehouse_readings", kept, "rows", "equal", (INSTANTS + 4) * MACHINES, command=COMMAND),
            Figure("warehouse_first_build_seconds", cold, "s", "lower", 60, command=COMMAND),
            Figure("warehouse_full_refresh_seconds", full, "s", "lower", 60, command=COMMAND),
            Figure(
                "warehouse_one_hour_seconds", hour, "s", "lower", 30, "--full-refresh", full, command=COMMAND
            ),
        ],
    )


if __name__ == "__main__":
    main()
