"""The resources of the code location as the addresses that landing works with."""

from orchestration.environment import Environment
from orchestration.ingest.services import LandingServices
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.lake import LakeResource
from orchestration.resources.postgres import PostgresResource


def landing_services(postgres: PostgresResource, kafka: KafkaResource, lake: LakeResource) -> LandingServices:
    """Plain addresses out of Dagster's resources."""
    return LandingServices(
        database_url=postgres.url,
        bootstrap_servers=kafka.bootstrap_servers,
        lake_url=lake.url,
        catalog_uri=lake.catalog_uri,
        schema_registry_url=Environment().schema_registry_url,
    )
