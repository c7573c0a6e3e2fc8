"""Fixtures that several modules share: MLflow, a warehouse database, and a plant with documents to index.

The warehouse's database keeps its name, since dbt keeps its parse by name. Avoid fixtures of one module:
they stand there.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from indexed_plant import Plant
from landed_rows import azure_rows, land
from warehouse_project import Warehouse, database

from deployment.embedded import mlflow as mlflow_server
from deployment.embedded.service import running
from orchestration.environment import Environment
from tests.conftest import free_port


@pytest.fixture(scope="session")
def dbt_state_dir(services_dir: Path) -> Path:
    """Where dbt keeps a parse per database name during the session."""
    return services_dir / "state"


@pytest.fixture
def warehouse(postgres_port: int, dbt_state_dir: Path) -> Iterator[Warehouse]:
    """The warehouse over a database of the test's own."""
    with database(postgres_port, "warehouse_test") as url:
        yield Warehouse(url, dbt_state_dir / "test")


@pytest.fixture(scope="module")
def azure_warehouse(postgres_port: int, dbt_state_dir: Path, azure_pdm_dir: Path) -> Iterator[Warehouse]:
    """The warehouse over the landed Azure replay, not built yet; the tests of a module share it."""
    with database(postgres_port, "warehouse_azure") as url:
        with psycopg.connect(url) as connection:
            for table, rows in azure_rows(azure_pdm_dir).items():
                land(connection, table, rows)
        yield Warehouse(url, dbt_state_dir / "azure")


@pytest.fixture(scope="module")
def mlflow_uri(postgres_port: int, services_dir: Path) -> Iterator[str]:
    """A real MLflow server on the session's Postgres."""
    environment = Environment(DATABASE_URL=f"postgresql://postgres@127.0.0.1:{postgres_port}/opsgraph")
    database, port = environment.sibling_database_url("mlflow", driver="psycopg2"), free_port()
    with running(mlflow_server.service(services_dir, port, database), services_dir / "logs"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def plant(database_url: str, tmp_path: Path) -> Plant:
    """A plant with two documents, not yet indexed."""
    plant = Plant(database_url, tmp_path)
    plant.write("seal", "# Pump seal\n\n## Steps\n\n1. Replace the pump seal.\n")
    plant.write("belt", "# Drive belt\n\n## Steps\n\n1. Tension the drive belt.\n")
    return plant
