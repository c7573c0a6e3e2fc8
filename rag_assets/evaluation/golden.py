"""The corpus of record judged on golden questions and on what users called right.

The corpus is indexed in a temporary place: the live shard belongs to the process that answers from it.
Avoid collections from elsewhere here (`rag_assets.evaluation.collection`).
"""

import statistics
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from rag_assets.chunking import ChunkerSettings
from rag_assets.copilot.feedback import judged_questions
from rag_assets.embedding import Embedder
from rag_assets.embedding_cache import PostgresKeeper
from rag_assets.evaluation.answer_rates import (
    RatedAnswer,
    answers_with_citations_ratio,
    hallucination_flag_rate,
)
from rag_assets.evaluation.collection import judged_candidates
from rag_assets.evaluation.gate import is_answerable
from rag_assets.evaluation.measures import DEPTH, hit, ndcg, recall, reciprocal_rank
from rag_assets.evaluation.questions import JudgedQuestion
from rag_assets.index.builds import ALIAS
from rag_assets.index.corpus import load_corpus
from rag_assets.index.edge import EdgeStore
from rag_assets.index.points import make_points
from rag_assets.rerank.rankers import JudgedCandidates
from rag_assets.rerank.served import served_rankers
from rag_assets.rerank.training import groups_of, paired_bootstrap
from rag_assets.retrieval import Retriever, SearchRequest


@dataclass(frozen=True)
class Measure:
    """A mean over questions with the 95 % interval of a bootstrap over groups of them.

    Attributes:
        name: For example `ndcg_at_10`.
        family: Tenant whose questions these are; empty for all.
    """

    name: str
    family: str
    value: float
    low: float
    high: float
    question_count: int


@contextmanager
def corpus_retriever(database_url: str, embedder: Embedder) -> Generator[Retriever]:
    """Search over the corpus of record as it is now, with the rankers that serve."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        documents = load_corpus(connection)
        made = make_points(documents, embedder, PostgresKeeper(connection), ChunkerSettings())
        rankers = served_rankers(connection)
    with tempfile.TemporaryDirectory(prefix="opsgraph-golden-") as folder:
        store = EdgeStore(Path(folder))
        writer = store.create("golden", embedder.dimension)
        writer.add(made.points)
        writer.close()
        retriever = Retriever(store.open("golden"), embedder, rankers=rankers)
        try:
            yield retriever
        finally:
            retriever.close()


def feedback_questions(connection: psycopg.Connection[Any]) -> tuple[JudgedQuestion, ...]:
    """Questions whose askers found the answer useful, or said which documents were right."""
    return tuple(
        JudgedQuestion(item.query, frozenset(item.document_ids), "feedback", item.tenant_id)
        for item in judged_questions(connection)
    )


def measure(retriever: Retriever, questions: Sequence[JudgedQuestion], asked_on: date) -> tuple[Measure, ...]:
    """Measures of answerable questions, over all and by tenant.

    Args:
        retriever: Search over the corpus.
        questions: With tenants; those whose documents are not in the corpus are left out.
        asked_on: Day on which documents must be current.
    """
    judged = [question for question in questions if is_answerable(retriever, question)]
    rows: list[dict[str, float]] = []
    for question in judged:
        request = SearchRequest(question.question, question.tenant_id, asked_on, top_k=DEPTH)
        found = retriever.search(request)
        names = [item.document.document_id for item in found]
        rows.append(
            {
                "ndcg_at_10": ndcg(names, question.relevant),
                "mrr_at_10": reciprocal_rank(names, question.relevant),
                "recall_at_5": recall(names, question.relevant, 5),
                "recall_at_10": recall(names, question.relevant, 10),
                "hit_at_1": float(hit(names, question.relevant, 1)),
                "hit_at_5": float(hit(names, question.relevant, 5)),
                "retrieval_empty_rate": float(not any(item.evidence.is_sufficient for item in found)),
            }
        )
    groups = groups_of([question.relevant for question in judged])
    families = ["", *sorted({question.tenant_id for question in judged})]
    measures: list[Measure] = []
    for family in families:
        places = [place for place, item in enumerate(judged) if family in ("", item.tenant_id)]
        for name in rows[0] if rows else ():
            values = np.array([rows[place][name] for place in places])
            mean, low, high = paired_bootstrap(values, [groups[place] for place in places])
            measures.append(Measure(name, family, mean, low, high, len(places)))
    return tuple(measures)


def judged_by_tenant(
    retriever: Retriever, questions: Sequence[JudgedQuestion], asked_on: date
) -> dict[str, list[JudgedCandidates]]:
    """What each tenant's ranker learns from."""
    found: dict[str, list[JudgedCandidates]] = {}
    for tenant_id in sorted({question.tenant_id for question in questions if question.relevant}):
        own = [item for item in questions if item.tenant_id == tenant_id and is_answerable(retriever, item)]
        groups = groups_of([question.relevant for question in own])
        found[tenant_id] = judged_candidates(retriever, own, groups, asked_on, tenant_id)
    return found


def store_measures(connection: psycopg.Connection[Any], build_id: str, measures: Sequence[Measure]) -> None:
    """Keep the measures of a build; measuring it again replaces them."""
    for item in measures:
        connection.execute(
            "insert into rag.retrieval_measures "
            "(build_id, measure, family, value, low, high, question_count) "
            "values (%s, %s, %s, %s, %s, %s, %s) on conflict (build_id, measure, family) do update set "
            "value = excluded.value, low = excluded.low, high = excluded.high, "
            "question_count = excluded.question_count, measured_at = now()",
            (build_id, item.name, item.family, item.value, item.low, item.high, item.question_count),
        )


def answer_measures(connection: psycopg.Connection[Any], limit: int = 500) -> dict[str, float]:
    """Measures of the latest kept answers, by the mission's names; empty before the first answer.

    `stale_query_rate` is the share of those first given after the alias moved to the live build that were
    taken from another one; it is left out while there are none.
    """
    rows = connection.execute(
        """
        select jsonb_array_length(answer.citations) > 0,
            jsonb_array_length(coalesce(answer.receipt -> 'ungrounded', '[]'::jsonb)) > 0,
            case
                when kept.stored_at > live.moved_at
                    then answer.receipt ->> 'index_build' is distinct from live.build_id
            end as is_stale
        from rag.answers as answer
        left join rag.answer_evidence as kept on answer.answer_id = kept.answer_id
        left join rag.index_aliases as live on live.alias = %s
        order by answer.answered_at desc
        limit %s
        """,
        (ALIAS, limit),
    ).fetchall()
    if not rows:
        return {}
    answers = [RatedAnswer(is_cited, is_flagged) for is_cited, is_flagged, _ in rows]
    stale = [float(is_stale) for *_, is_stale in rows if is_stale is not None]
    return {
        "answers_with_citations_ratio": answers_with_citations_ratio(answers),
        "hallucination_flag_rate": hallucination_flag_rate(answers),
        **({"stale_query_rate": statistics.fmean(stale)} if stale else {}),
    }
