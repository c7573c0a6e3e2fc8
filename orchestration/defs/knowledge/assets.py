"""The knowledge base as assets: documents of record, and the index build that answers.

Add an asset when another kind of source is read. Avoid logic: `rag_assets` does the work.
"""

from datetime import UTC, datetime

import dagster as dg

from orchestration.automation import WHEN_UPSTREAM_IS_SOUND
from orchestration.defs.knowledge.checks import INDEX_CHECKS, check_results
from orchestration.environment import PROJECT_ROOT
from orchestration.resources.postgres import PostgresResource
from orchestration.resources.vector_store import VectorStoreResource
from rag_assets.documents import CORPUS_DIR
from rag_assets.index.refresh import read_source, refresh_index

GOLDEN_QUESTIONS = PROJECT_ROOT / "tests" / "evals" / "golden" / "questions.jsonl"


@dg.asset(
    key=["knowledge", "corpus"],
    group_name="knowledge",
    owners=["team:reliability-engineering"],
    kinds={"markdown", "postgres"},
)
def knowledge_corpus(postgres: PostgresResource) -> dg.MaterializeResult:
    """Runbooks and manuals, a row per version; a broken file is listed and keeps its last good text."""
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
    key=["knowledge", "index"],
    deps=[knowledge_corpus],
    group_name="knowledge",
    owners=["team:reliability-engineering"],
    kinds={"qdrant"},
    check_specs=INDEX_CHECKS,
    automation_condition=WHEN_UPSTREAM_IS_SOUND,
)
def knowledge_index(postgres: PostgresResource, vector_store: VectorStoreResource) -> dg.MaterializeResult:
    """The index build that answers questions; it does so only after every check has passed in the engine."""
    store, embedder = vector_store.store(), vector_store.embedder()
    outcome = refresh_index(postgres.url, store, embedder, GOLDEN_QUESTIONS, datetime.now(UTC).date())
    metadata = {
        "dagster/row_count": outcome.chunk_count,
        "documents": outcome.document_count,
        "embedded": outcome.embedded_count,
        "build": outcome.build_id,
        "status": outcome.status.value,
    }
    return dg.MaterializeResult(metadata=metadata, check_results=check_results(outcome))
