"""The two runs over golden questions: measure the live build, and train the rankers of all tenants.

The command line and Dagster call these. Avoid measures here (`rag_assets.evaluation.golden`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg

from ml.registry.client import ModelRegistry
from ml.registry.rules import PromotionRule
from rag_assets.embedding import Embedder
from rag_assets.evaluation.golden import (
    Measure,
    answer_measures,
    corpus_retriever,
    feedback_questions,
    judged_by_tenant,
    measure,
    store_measures,
)
from rag_assets.evaluation.questions import JudgedQuestion, read_questions
from rag_assets.index.builds import current_build
from rag_assets.index.contract import BuildUnavailableError


@dataclass(frozen=True)
class MeasuredBuild:
    """What a build's answers are worth.

    Attributes:
        measures: On golden questions and feedback.
        of_answers: Of the latest answers that were given, by the mission's names.
    """

    build_id: str
    measures: tuple[Measure, ...]
    of_answers: dict[str, float]


def measure_build(database_url: str, embedder: Embedder, golden: Path, asked_on: date) -> MeasuredBuild:
    """Measure the build that answers, and keep the figures.

    Raises:
        BuildUnavailableError: No build answers yet.
    """
    with corpus_retriever(database_url, embedder) as retriever:
        measures = measure(retriever, _questions(database_url, golden), asked_on)
    with psycopg.connect(database_url) as connection:
        build = current_build(connection)
        if build is None:
            raise BuildUnavailableError("no index build has been published: run `opsgraph index` first")
        store_measures(connection, build.build_id, measures)
        return MeasuredBuild(build.build_id, measures, answer_measures(connection))


def train_rankers(
    database_url: str,
    registry: ModelRegistry,
    embedder: Embedder,
    golden: Path,
    asked_on: date,
    rule: PromotionRule | None = None,
    tags: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Train, register and decide on the ranker of each tenant that has judged questions.

    Returns:
        Tenant → what happened, in words.
    """
    from rag_assets.rerank.versions import promote, train_version

    with corpus_retriever(database_url, embedder) as retriever:
        by_tenant = judged_by_tenant(retriever, _questions(database_url, golden), asked_on)
    words: dict[str, str] = {}
    for tenant_id, judged in by_tenant.items():
        outcome = train_version(registry, tenant_id, judged, tags)
        version = f"version {outcome.version.version}" if outcome.version else "no version"
        bars = "; ".join(bar.words for bar in outcome.bars)
        words[tenant_id] = ", ".join(filter(None, (version, bars, outcome.note)))
    with psycopg.connect(database_url) as connection:
        decided = promote(connection, registry, list(by_tenant), rule)
    return {**words, "decisions": "\n".join(decided) or "no challenger was waiting"}


def _questions(database_url: str, golden: Path) -> tuple[JudgedQuestion, ...]:
    own = read_questions(golden) if golden.exists() else ()
    with psycopg.connect(database_url) as connection:
        return (*own, *feedback_questions(connection))
