"""Fixtures of the warehouse tests: a database whose name stays, since dbt keeps its parse by name.

Avoid fixtures of other parts: they stand in the modules that use them.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from landed_rows import azure_rows, land
from warehouse_project import Warehouse, database


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
