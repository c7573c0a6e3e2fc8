"""Shared fixtures: the real data sets, and real Postgres and Kafka started once per session.

Add a fixture here when tests of two folders need it. Avoid fixtures of one topic: they stand beside it.
"""

import os
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deployment.embedded import kafka, postgres
from deployment.embedded.jars import fetch_jars
from deployment.embedded.service import running
from orchestration.environment import Environment


def free_port() -> int:
    """A TCP port that is free on the loopback address right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def real_data(name: str) -> Path:
    """Folder of a public data set; skips where it is absent, fails where REQUIRE_DATA=1."""
    folder = Environment().data_dir / name
    if not folder.exists():
        message = f"{folder} is absent: set OPSGRAPH_DATA_DIR to the folder of the public data sets"
        if os.environ.get("REQUIRE_DATA") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def azure_pdm_dir() -> Path:
    """The Azure predictive-maintenance set."""
    return real_data("azure_pdm")


@pytest.fixture(scope="session")
def runbooks_dir() -> Path:
    """The public runbooks with their retrieval queries."""
    return real_data("runbooks")


@pytest.fixture(scope="session")
def services_dir() -> Iterator[Path]:
    """State of the session's services, in a folder that the unprivileged Postgres user may enter."""
    with tempfile.TemporaryDirectory(prefix="opsgraph-tests-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def postgres_port(services_dir: Path) -> Iterator[int]:
    """A real Postgres, without fsync; tests that crash it start their own."""
    port = free_port()
    data_dir = services_dir / "postgres"
    postgres.initialise(data_dir)
    with running(postgres.service(data_dir, port, fsync=False), services_dir / "logs"):
        postgres.create_databases(port, ["template_opsgraph", "mlflow", "dagster"])
        from orchestration.migrations import upgrade

        upgrade(f"postgresql://postgres@127.0.0.1:{port}/template_opsgraph")
        yield port


@pytest.fixture
def database_url(postgres_port: int) -> Iterator[str]:
    """A migrated database of the test's own."""
    yield from _temporary_database(postgres_port, template="template_opsgraph")


@pytest.fixture(scope="module")
def module_database_url(postgres_port: int) -> Iterator[str]:
    """A migrated database that the tests of one module share."""
    yield from _temporary_database(postgres_port, template="template_opsgraph")


@pytest.fixture
def empty_database_url(postgres_port: int) -> Iterator[str]:
    """An empty database of the test's own, for example for an Iceberg catalog."""
    yield from _temporary_database(postgres_port, template="template1")


def _temporary_database(port: int, template: str) -> Iterator[str]:
    server = f"postgresql://postgres@127.0.0.1:{port}"
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
    yield f"{server}/{name}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def kafka_servers(services_dir: Path) -> Iterator[str]:
    """A real Kafka broker."""
    fetch_jars()
    port, controller_port = free_port(), free_port()
    data_dir = services_dir / "kafka"
    kafka.initialise(data_dir, port, controller_port)
    with running(kafka.service(data_dir, port, controller_port), services_dir / "logs"):
        yield f"127.0.0.1:{port}"
