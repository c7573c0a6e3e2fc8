"""Kafka topics as external assets, and the raw table of each one as an asset.

Add an asset here when landing fills another kind of table. Avoid landing itself: one call of
`orchestration.ingest.landing` does it.
"""

from datetime import timedelta

import dagster as dg

from orchestration.ingest.contracts import Direction, TopicContract, load_contracts
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.lake import LakeResource
from orchestration.resources.postgres import PostgresResource

GROUP = "landing"
OWNERS = ["team:data-engineering"]
CONTRACTS = load_contracts()
LANDED = [contract for contract in CONTRACTS.values() if contract.direction is Direction.IN]

# Streaming to batch is hourly: two missed hours are worth a look, a missed day is a failure.
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=24), warn_window=timedelta(hours=2))


def kafka_key(contract: TopicContract) -> dg.AssetKey:
    """Key of a topic."""
    return dg.AssetKey(["kafka", contract.topic])


def raw_key(contract: TopicContract) -> dg.AssetKey:
    """Key of a topic's raw table."""
    return dg.AssetKey(["raw", contract.table])


def topic_spec(contract: TopicContract) -> dg.AssetSpec:
    """A topic, which others fill."""
    return dg.AssetSpec(
        kafka_key(contract),
        description=f"{contract.description} One message: {contract.grain}.",
        group_name=GROUP,
        owners=OWNERS,
        kinds={"kafka", contract.format.value},
        metadata={"partitions": contract.partitions, "contract_version": contract.version},
    )


def raw_table(contract: TopicContract) -> dg.AssetsDefinition:
    """A raw table: materializing it lands everything that its topic holds."""

    @dg.asset(
        key=raw_key(contract),
        deps=[kafka_key(contract)],
        description=f"{contract.description} One row: {contract.grain}. As it was read, duplicates included.",
        group_name=GROUP,
        owners=OWNERS,
        kinds={"kafka", "postgres", "iceberg"},
        freshness_policy=FRESH,
        tags={"topic": contract.topic},
    )
    def land(
        context: dg.AssetExecutionContext,
        postgres: PostgresResource,
        kafka: KafkaResource,
        lake: LakeResource,
    ) -> dg.MaterializeResult:
        from orchestration.defs.landing.metadata import column_schema, landing_metadata
        from orchestration.defs.landing.services import landing_services
        from orchestration.ingest.landing import land_topic

        services = landing_services(postgres, kafka, lake)
        report = land_topic(contract.topic, services, run_id=context.run_id, contracts=CONTRACTS)
        metadata = landing_metadata(report, postgres.url)
        return dg.MaterializeResult(metadata={**metadata, "dagster/column_schema": column_schema(contract)})

    return land


topics = [topic_spec(contract) for contract in LANDED]
raw_tables = [raw_table(contract) for contract in LANDED]
