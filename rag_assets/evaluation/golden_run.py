"""The two runs over golden questions: measure the live build, and train the rankers of all tenants.

The command line and Dagster call these. Avoid measures here (`rag_assets.evaluation.golden`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
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
from rag_assets.index.corpus import corpus_digest, corpus_heads
from rag_assets.rerank.rankers import JudgedCandidates
from rag_assets.rerank.training import FEWEST_GROUPS
from rag_assets.rerank.versions import LESSONS, newest, promote, train_version
from rag_assets.sources.insights import SOURCE as INSIGHTS


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

    A tenant's version stays while its questions and the documents of record are as it learned them.

    Returns:
        Tenant → what happened, in words.
    """
    questions = _questions(database_url, golden)
    lessons = _lessons(database_url, embedder, questions)
    present = {tenant_id: newest(registry, tenant_id) for tenant_id in lessons}
    kept = {
        tenant_id: version
        for tenant_id, version in present.items()
        if version and version.tags.get(LESSONS) == lessons[tenant_id]
    }
    words = {
        tenant_id: f"version {version.version} stays: its questions and the documents are unchanged"
        for tenant_id, version in kept.items()
    }
    open_questions = [item for item in questions if item.tenant_id in lessons and item.tenant_id not in kept]
    by_tenant: dict[str, list[JudgedCandidates]] = {}
    if open_questions:
        with corpus_retriever(database_url, embedder) as retriever:
            by_tenant = judged_by_tenant(retriever, open_questions, asked_on)
    for tenant_id, judged in by_tenant.items():
        outcome = train_version(registry, tenant_id, judged, tags)
        if outcome.version:
            registry.tag(outcome.version, LESSONS, lessons[tenant_id])
        version = f"version {outcome.version.version}" if outcome.version else "no version"
        bars = "; ".join(bar.words for bar in outcome.bars)
        words[tenant_id] = ", ".join(filter(None, (version, bars, outcome.note)))
    with psycopg.connect(database_url) as connection:
        decided = promote(connection, registry, sorted(lessons), rule)
    return {**words, "decisions": "\n".join(decided) or "no challenger was waiting"}


def _lessons(database_url: str, embedder: Embedder, questions: Sequence[JudgedQuestion]) -> dict[str, str]:
    """Tenant with enough questions → digest of what a ranker of theirs would learn from.

    Generated insights are left out: they change with every hour of data, and no question asks for them.
    """
    with psycopg.connect(database_url) as connection:
        documents = corpus_digest(corpus_heads(connection, without_source=INSIGHTS), embedder.name)
    found: dict[str, str] = {}
    for tenant_id in sorted({item.tenant_id for item in questions}):
        own = [item for item in questions if item.tenant_id == tenant_id and item.relevant]
        if len({item.relevant for item in own}) >= FEWEST_GROUPS:
            asked = sorted([item.question, *sorted(item.relevant)] for item in own)
            found[tenant_id] = sha256(json.dumps([documents, asked]).encode()).hexdigest()
    return found


def _questions(database_url: str, golden: Path) -> tuple[JudgedQuestion, ...]:
    own = read_questions(golden) if golden.exists() else ()
    with psycopg.connect(database_url) as connection:
        return (*own, *feedback_questions(connection))
