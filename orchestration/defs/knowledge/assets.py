"""The knowledge base as assets: documents of record, and the index build that answers.

Add an asset when another kind of source is read. Avoid logic: `rag_assets` does the work.
"""

from datetime import UTC, datetime

import dagster as dg

from orchestration.automation import WHEN_UPSTREAM_IS_SOUND
from orchestration.defs.knowledge.checks import INDEX_CHECKS, check_results
from orchestration.environment import PROJECT_ROOT
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.postgres import PostgresResource
from orchestration.resources.vector_store import VectorStoreResource

GOLDEN_QUESTIONS = PROJECT_ROOT / "tests" / "evals" / "golden" / "questions.jsonl"
INSIGHT_METRICS = ["intermediate", "int_equipment_metrics_hourly"]


@dg.asset(
    key=["knowledge", "corpus"],
    group_name="knowledge",
    owners=["team:reliability-engineering"],
    kinds={"markdown", "postgres"},
)
def knowledge_corpus(postgres: PostgresResource) -> dg.MaterializeResult:
    """Runbooks and manuals, a row per version; a broken file is listed and keeps its last good text."""
    from rag_assets.documents import CORPUS_DIR
    from rag_assets.index.refresh import read_source

    change = read_source(postgres.url, CORPUS_DIR, source="corpus", tenant_id=None)
    broken = "\n".join(f"- `{item.path}`: {item.reason}" for item in change.broken) or "none"
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": change.document_count,
            "changed": change.changed_count,
            "removed": change.removed_count,
            "broken_files": len(change.broken),
            "broken": dg.MetadataValue.md(broken),
            "documents_by_tenant": dg.MetadataValue.json(change.by_tenant),
        }
    )


@dg.asset(
    key=["knowledge", "insights"],
    deps=[["marts", "dim_equipment"], ["marts", "fact_equipment_events"], INSIGHT_METRICS],
    group_name="knowledge",
    owners=["team:reliability-engineering"],
    kinds={"postgres"},
    automation_condition=WHEN_UPSTREAM_IS_SOUND,
)
def knowledge_insights(postgres: PostgresResource) -> dg.MaterializeResult:
    """A document per machine from the marts: what changed this week; equal data leave it as it is."""
    from rag_assets.index.refresh import refresh_insights

    change = refresh_insights(postgres.url)
    metadata = {"dagster/row_count": change.document_count, "changed": change.changed_count}
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(
    key=["knowledge", "updates"],
    group_name="knowledge",
    owners=["team:reliability-engineering"],
    kinds={"kafka", "postgres"},
)
def knowledge_updates(postgres: PostgresResource, kafka: KafkaResource) -> dg.MaterializeResult:
    """Documents from the topic `knowledge-updates`; the position moves in their transaction."""
    from orchestration.defs.knowledge.updates import apply_waiting

    return dg.MaterializeResult(metadata=apply_waiting(kafka.bootstrap_servers, postgres.url))


@dg.asset(
    key=["knowledge", "index"],
    deps=[knowledge_corpus, knowledge_insights, knowledge_updates],
    group_name="knowledge",
    owners=["team:reliability-engineering"],
    kinds={"qdrant"},
    check_specs=INDEX_CHECKS,
    automation_condition=WHEN_UPSTREAM_IS_SOUND,
)
def knowledge_index(postgres: PostgresResource, vector_store: VectorStoreResource) -> dg.MaterializeResult:
    """The index build that answers questions; it does so only after every check has passed in the engine."""
    from rag_assets.index.refresh import refresh_index

    store, embedder = vector_store.store(), vector_store.embedder()
    outcome = refresh_index(postgres.url, store, embedder, GOLDEN_QUESTIONS, datetime.now(UTC).date())
    metadata = {
        "dagster/row_count": outcome.chunk_count,
        "documents": outcome.document_count,
        "embedded": outcome.embedded_count,
        "written": outcome.written_count,
        "base": outcome.base_build_id or "none",
        "build": outcome.build_id,
        "status": outcome.status.value,
    }
    return dg.MaterializeResult(metadata=metadata, check_results=check_results(outcome))
