"""Near-real-time documents: what waits on `knowledge-updates`, and the sensor that asks for it.

The topic is read by `orchestration.ingest`, its messages are understood by `rag_assets`; they meet here.
"""

from typing import Any

import dagster as dg

from orchestration.resources.kafka import KafkaResource
from orchestration.resources.postgres import PostgresResource

update_knowledge = dg.define_asset_job(
    name="update_knowledge",
    selection=dg.AssetSelection.assets(["knowledge", "updates"], ["knowledge", "index"]),
    description="Take in the documents that wait on the topic knowledge-updates, and index them.",
    executor_def=dg.in_process_executor,
)


@dg.sensor(
    job=update_knowledge,
    name="knowledge_updates_waiting",
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests a run when messages wait; the run key is their offsets.",
)
def knowledge_updates_waiting(
    context: dg.SensorEvaluationContext, postgres: PostgresResource, kafka: KafkaResource
) -> dg.RunRequest | dg.SkipReason:
    """The broker is asked; a tick never reads."""
    from orchestration.ingest.document_updates import ensure_topic, waiting

    ensure_topic(kafka.bootstrap_servers)
    evidence = waiting(kafka.bootstrap_servers, postgres.url)
    return dg.RunRequest(run_key=evidence) if evidence else dg.SkipReason("nothing waits")


def apply_waiting(bootstrap_servers: str, database_url: str) -> dict[str, Any]:
    """Take in everything that waits; counts and refused messages as metadata."""
    from orchestration.ingest.document_updates import ensure_topic, read_updates
    from rag_assets.sources.updates import AppliedUpdates, apply_updates

    applied: list[AppliedUpdates] = []
    ensure_topic(bootstrap_servers)
    read = read_updates(
        bootstrap_servers,
        database_url,
        lambda connection, messages: applied.append(apply_updates(connection, messages)),
    )
    broken = [f"- `{item.path}`: {item.reason}" for run in applied for item in run.broken]
    return {
        "messages": read.message_count,
        "dagster/row_count": sum(run.stored for run in applied),
        "withdrawn": sum(run.withdrawn for run in applied),
        "broken": dg.MetadataValue.md("\n".join(broken) or "none"),
    }
