"""Where the services of the landing path are, as plain values.

Add an address here when landing needs another service. Avoid settings of behavior: those stand
beside the function that they tune.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LandingServices:
    """Addresses that a lander works with.

    Attributes:
        database_url: `postgresql://user@host:port/database` of raw tables and ledger.
        bootstrap_servers: `host:port,…` of Kafka.
        lake_url: Warehouse root of the Iceberg tables: a folder, `file://…` or `s3://…`.
        catalog_uri: SQLAlchemy URL of the Iceberg catalog's database.
        schema_registry_url: Confluent-compatible registry; None takes the pinned schema ids.
    """

    database_url: str
    bootstrap_servers: str
    lake_url: str
    catalog_uri: str
    schema_registry_url: str | None = None
