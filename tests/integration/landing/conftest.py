"""The fixture of the landing tests."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from landing_plant import Plant, own_contracts

from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.services import LandingServices
from orchestration.ingest.topics import ensure_topics


@pytest.fixture
def plant(
    database_url: str, empty_database_url: str, kafka_servers: str, services_dir: Path, tmp_path: Path
) -> Iterator[Plant]:
    """Fresh topics, a migrated database and an empty lake."""
    suffix = uuid.uuid4().hex[:8]
    folder = tmp_path / "contracts"
    folder.mkdir()
    lake = services_dir / f"lake-{suffix}"
    services = LandingServices(
        database_url=database_url,
        bootstrap_servers=kafka_servers,
        lake_url=str(lake),
        catalog_uri=empty_database_url.replace("postgresql://", "postgresql+psycopg2://"),
        contracts_dir=own_contracts(folder, suffix),
    )
    contracts = load_contracts(folder)
    ensure_topics(kafka_servers, contracts)
    yield Plant(services, contracts, suffix)
    AdminClient({"bootstrap.servers": kafka_servers}).delete_topics(list(contracts))
    shutil.rmtree(lake, ignore_errors=True)
