"""As known at T on a plant with late and repeated messages, against a plant that ended at T."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import psycopg
import pytest
from landed_rows import TABLES, land
from warehouse_project import Warehouse, assert_same_models, database

from orchestration.ingest.simulators.plant import PlantSimulator, SimulatorConfig

pytestmark = pytest.mark.integration

START = datetime(2026, 1, 5, tzinfo=UTC)
AS_OF = START + timedelta(days=9, hours=7)
INCIDENT = """
    insert into ops.incident_calendar
        (incident_id, tenant_id, kind, starts_at, ends_at, known_at, reason, source)
    values (%s, 'demo-plant', 'outage', %s, %s, %s, 'power cut', 'test')
"""


@pytest.fixture(scope="module")
def messages() -> dict[str, pl.DataFrame]:
    """Twelve days of the plant by raw table, a tenth of the messages late and a tenth sent twice."""
    config = SimulatorConfig(late_share=0.1, duplicate_share=0.1)
    window = PlantSimulator(seed=3, config=config).window(START, START + timedelta(days=12))
    tables = {contract.topic: table for table, contract in TABLES.items()}
    return {tables[topic]: frame for topic, frame in window.frames.items()}


def land_part(warehouse: Warehouse, messages: dict[str, pl.DataFrame], known: pl.Expr) -> None:
    with psycopg.connect(warehouse.url) as connection:
        for table, rows in messages.items():
            if (part := rows.filter(known)).height:
                land(connection, table, part)


@pytest.fixture
def ended_at_as_of(postgres_port: int, warehouse: Warehouse) -> Iterator[Warehouse]:
    with database(postgres_port, "warehouse_known") as url:
        yield Warehouse(url, warehouse.state_dir.parent / "known")


def test_as_of_equals_a_plant_that_ended_then(
    warehouse: Warehouse, ended_at_as_of: Warehouse, messages: dict[str, pl.DataFrame]
) -> None:
    """Forbids knowledge of the future: late rows, later copies, later incidents, labels not yet mature.

    One database has all twelve days and is built as of T. The other only ever received what was known by
    T, in three parts with an incremental build after each; its plant clock stands where that data ends.
    """
    known_at = pl.col("known_at")
    later = AS_OF + timedelta(days=1)
    land_part(warehouse, messages, known_at.is_not_null())
    with psycopg.connect(warehouse.url) as connection:
        connection.execute(INCIDENT, ("known", START, START + timedelta(hours=5), AS_OF))
        connection.execute(INCIDENT, ("later", START + timedelta(days=2), AS_OF, later))
    warehouse.build(as_of=AS_OF)

    with psycopg.connect(ended_at_as_of.url) as connection:
        connection.execute(INCIDENT, ("known", START, START + timedelta(hours=5), AS_OF))
    cuts = [START - timedelta(days=1), START + timedelta(days=2), START + timedelta(days=6), AS_OF]
    for low, high in pairwise(cuts):
        land_part(ended_at_as_of, messages, (known_at > low) & (known_at <= high))
        ended_at_as_of.build()

    assert_same_models(warehouse, ended_at_as_of, AS_OF)
    duplicates = ended_at_as_of.scalar("select sum(duplicate_rows) from intermediate.int_declared_duplicates")
    late_hours = ended_at_as_of.scalar(
        "select count(*) from intermediate.int_equipment_metrics_hourly where max_lateness_s > 3600"
    )
    assert duplicates > 100
    assert late_hours > 100
    # A plant has machines that make no parts and days on which others stand: none is ever inspected.
    uninspected = "from marts.fact_production_metrics where inspected_units is null"
    assert ended_at_as_of.scalar(f"select count(*) {uninspected}") > 0
    assert ended_at_as_of.scalar("select sum(failure_count) from marts.fact_production_metrics") == (
        ended_at_as_of.scalar("select count(*) from marts.fact_equipment_events where event_type = 'failure'")
    )
