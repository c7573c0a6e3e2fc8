"""Where the services of the landing path are, as plain values.

Add an address here when landing needs another service. Avoid settings of behavior: those stand
beside the function that they tune.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration.ingest.contracts import CONTRACTS_DIR, TopicContract
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog


@dataclass(frozen=True)
class LandingServices:
    """Addresses that a lander works with.

    Attributes:
        database_url: `postgresql://user@host:port/database` of raw tables and ledger.
        bootstrap_servers: `host:port,…` of Kafka.
        lake_url: Warehouse root of the Iceberg tables: a folder, `file://…` or `s3://…`.
        catalog_uri: SQLAlchemy URL of the Iceberg catalog's database.
        schema_registry_url: Confluent-compatible registry; None takes the pinned schema ids.
        contracts_dir: Folder of the contracts and the pinned schema ids.
    """

    database_url: str
    bootstrap_servers: str
    lake_url: str
    catalog_uri: str
    schema_registry_url: str | None = None
    contracts_dir: Path = CONTRACTS_DIR

    def schema_catalog(self, contracts: Mapping[str, TopicContract]) -> SchemaCatalog:
        """Where the schema ids of messages are looked up."""
        return SchemaCatalog(contracts, self.schema_registry_url, self.contracts_dir)
