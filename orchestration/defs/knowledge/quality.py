"""How good retrieval is, build by build, and the learned order of what it finds.

Add a measure in `rag_assets.evaluation`. Avoid logic here.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.automation import WHEN_UPSTREAM_IS_SOUND
from orchestration.defs.knowledge.assets import GOLDEN_QUESTIONS, knowledge_index
from orchestration.resources.mlflow import MlflowResource
from orchestration.resources.postgres import PostgresResource
from orchestration.resources.vector_store import VectorStoreResource

if TYPE_CHECKING:
    from rag_assets.evaluation.golden import Measure

LEAST_HIT_AT_5 = 0.9


@dg.asset(
    key=["knowledge", "retrieval_quality"],
    deps=[knowledge_index],
    group_name="knowledge",
    owners=["team:reliability-engineering"],
    kinds={"qdrant", "postgres"},
    check_specs=[dg.AssetCheckSpec("golden_hit_at_5", asset=["knowledge", "retrieval_quality"])],
    automation_condition=WHEN_UPSTREAM_IS_SOUND,
)
def retrieval_quality(postgres: PostgresResource, vector_store: VectorStoreResource) -> dg.MaterializeResult:
    """Answers to golden questions and users' feedback, per build: `rag.retrieval_measures`.

    Grain: one row per build, measure and tenant (empty for all).
    """
    from rag_assets.evaluation.golden_run import measure_build

    today = datetime.now(UTC).date()
    found = measure_build(postgres.url, vector_store.embedder(), GOLDEN_QUESTIONS, today)
    return quality_result(found.build_id, found.measures, found.of_answers)


@dg.asset(
    key=["model", "ranker"],
    deps=[knowledge_index],
    group_name="training",
    owners=["team:ml-engineering"],
    kinds={"scikitlearn", "mlflow"},
)
def ranker(
    context: dg.AssetExecutionContext,
    postgres: PostgresResource,
    vector_store: VectorStoreResource,
    mlflow: MlflowResource,
) -> dg.MaterializeResult:
    """Order of search results, learned from judged questions on grouped folds; promoted when it wins.

    Grain: one version per tenant and set of questions.
    """
    from rag_assets.evaluation.golden_run import train_rankers

    registry, today = mlflow.registry(), datetime.now(UTC).date()
    tags, rule = {"dagster_run_id": context.run_id}, mlflow.promotion_rule()
    embedder = vector_store.embedder()
    found = train_rankers(postgres.url, registry, embedder, GOLDEN_QUESTIONS, today, rule, tags)
    return dg.MaterializeResult(metadata={name: dg.MetadataValue.text(text) for name, text in found.items()})


def quality_result(
    build_id: str, measures: tuple["Measure", ...], of_answers: dict[str, float]
) -> dg.MaterializeResult:
    """Numbers over all tenants as metadata that plot from build to build; the rest as a table."""
    overall = {item.name: item for item in measures if not item.family}
    rows = "\n".join(
        f"| {item.family or 'all'} | {item.name} | {item.value:.3f} | {item.low:.3f} to {item.high:.3f} "
        f"| {item.question_count} |"
        for item in measures
    )
    table = f"| tenant | measure | value | 95 % | questions |\n|---|---|---|---|---|\n{rows}"
    hit = overall.get("hit_at_5")
    check = dg.AssetCheckResult(
        check_name="golden_hit_at_5",
        passed=hit is None or hit.value >= LEAST_HIT_AT_5,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"hit_at_5": hit.value if hit else "no golden question has its document in the corpus"},
    )
    plotted = {name: item.value for name, item in overall.items()} | of_answers
    metadata = {"build": build_id, "measures": dg.MetadataValue.md(table), **plotted}
    return dg.MaterializeResult(metadata=metadata, check_results=[check])
