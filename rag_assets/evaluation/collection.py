"""Judge a collection: index it in a temporary place, search every question, and reorder what was found.

Judged at the level of documents, through the same chunks, engine, fusion and ranker that answer users.
Avoid the project's own corpus here (`rag_assets.evaluation.golden`).
"""

import re
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from rag_assets.analysis import term_id
from rag_assets.chunking import ChunkerSettings
from rag_assets.embedding import Embedder
from rag_assets.embedding_cache import EmbeddingKeeper
from rag_assets.evaluation.measures import DEPTH, hit, ndcg, reciprocal_rank
from rag_assets.evaluation.questions import TENANT, Collection, JudgedQuestion
from rag_assets.index.contract import IndexPoint
from rag_assets.index.edge import EdgeStore
from rag_assets.index.points import make_points
from rag_assets.lexical import PassageIndex
from rag_assets.postings import Keys, Scores
from rag_assets.rerank.rankers import JudgedCandidates, Ranker
from rag_assets.rerank.training import TrainedRanker, groups_of, paired_bootstrap, train_ranker
from rag_assets.retrieval import FirstStage, Retriever, SearchRequest

_EVALUATED_ON = date(2100, 1, 1)  # public collections carry no effective dates; every document counts


@dataclass(frozen=True)
class Measured:
    """Means over questions of one way of ranking."""

    ndcg_at_10: float
    hit_at_1: float
    hit_at_5: float
    mrr_at_10: float


@dataclass(frozen=True)
class RetrievalQuality:
    """What a collection gave.

    Attributes:
        reranked: The final order; equal to the first stage where nothing could be learned.
        gain: Reranked minus first stage, nDCG@10: mean, lower and upper bound of the 95 % interval
            of a paired bootstrap over groups of questions.
        fused_gain_over_bm25: First stage minus plain BM25, the same way.
        families: By family: question count, and nDCG@10 of BM25, first stage and final order.
        ranker: What was chosen; empty without training questions.
        query_p95_ms: One question at a time, embedding and reranking included.
    """

    question_count: int
    training_count: int
    first_stage: Measured
    reranked: Measured
    bm25: Measured
    gain: tuple[float, float, float]
    fused_gain_over_bm25: tuple[float, float, float]
    families: dict[str, dict[str, float]]
    ranker: str
    query_p95_ms: float
    chunk_count: int
    index_seconds: float


@dataclass(frozen=True)
class _Answer:
    found: FirstStage | None
    names: tuple[str, ...]
    latency_ms: float


def evaluate(
    collection: Collection,
    embedder: Embedder,
    keeper: EmbeddingKeeper,
    settings: ChunkerSettings | None = None,
) -> RetrievalQuality:
    """Index a collection and judge the first stage and, where there is training, the learned order.

    Args:
        collection: Documents and questions.
        embedder: Embedder under test.
        keeper: Where embeddings are kept between evaluations.
        settings: Chunk lengths.
    """
    started = time.perf_counter()
    made = make_points(collection.documents, embedder, keeper, settings or ChunkerSettings())
    with _indexed(made.points, embedder) as retriever:
        seconds = time.perf_counter() - started
        trained, groups = _trained(retriever, collection)
        _ask(retriever, collection.test[0], None)
        answers = [
            _ask(retriever, question, trained.ranker if trained else None) for question in collection.test
        ]
        baseline = _baseline(made.points)
        plain = [baseline(question.question) for question in collection.test]
    first = [list(answer.names) for answer in answers]
    final = [
        _reordered(answer, trained.unseen(group) if trained else None)
        for answer, group in zip(answers, groups, strict=True)
    ]
    gains = {
        name: np.array(
            [_gain(ranking, item) for ranking, item in zip(rankings, collection.test, strict=True)]
        )
        for name, rankings in (("bm25", plain), ("first_stage", first), ("reranked", final))
    }
    latencies = [answer.latency_ms for answer in answers]
    return RetrievalQuality(
        question_count=len(collection.test),
        training_count=len(collection.training),
        first_stage=_measured(first, collection.test),
        reranked=_measured(final, collection.test),
        bm25=_measured(plain, collection.test),
        gain=paired_bootstrap(gains["reranked"] - gains["first_stage"], groups),
        fused_gain_over_bm25=paired_bootstrap(gains["first_stage"] - gains["bm25"], groups),
        families=_families(collection.test, gains, groups),
        ranker=f"{trained.choice}; in folds {', '.join(map(str, trained.chosen_in_folds))}"
        if trained
        else "",
        query_p95_ms=statistics.quantiles(latencies, n=20)[-1] if len(latencies) > 1 else latencies[0],
        chunk_count=len(made.points),
        index_seconds=seconds,
    )


def judged_candidates(
    retriever: Retriever,
    questions: Sequence[JudgedQuestion],
    groups: Sequence[str],
    asked_on: date,
    tenant_id: str = TENANT,
) -> list[JudgedCandidates]:
    """What a ranker learns from: the candidates of each question that has any.

    Args:
        retriever: Search over the collection.
        questions: `relevant` names paths, or document ids.
        groups: Of each question.
        asked_on: Day on which documents must be current.
        tenant_id: Owner of questions that name none.
    """
    judged: list[JudgedCandidates] = []
    for question, group in zip(questions, groups, strict=True):
        request = SearchRequest(question.question, question.tenant_id or tenant_id, asked_on)
        found = retriever.first_stage(request)
        if found is None:
            continue
        measured = found.features(asked_on)
        is_right = [bool(question.relevant & names) for names in _identities(found)][: len(measured)]
        judged.append(JudgedCandidates(measured, np.array(is_right), group))
    return judged


@contextmanager
def _indexed(points: Sequence[IndexPoint], embedder: Embedder) -> Generator[Retriever]:
    with tempfile.TemporaryDirectory(prefix="opsgraph-eval-") as folder:
        store = EdgeStore(Path(folder))
        writer = store.create("evaluated", embedder.dimension)
        writer.add(points)
        writer.close()
        retriever = Retriever(store.open("evaluated"), embedder)
        try:
            yield retriever
        finally:
            retriever.close()


def _trained(retriever: Retriever, collection: Collection) -> tuple[TrainedRanker | None, list[str]]:
    """A ranker of the training questions, and the group of each test question."""
    questions = (*collection.training, *collection.test)
    groups = groups_of([question.relevant for question in questions])
    of_test = groups[len(collection.training) :]
    if not collection.training:
        return None, of_test
    # Groups over training and test together: a chain of shared documents may run through both.
    judged = judged_candidates(
        retriever, collection.training, groups[: len(collection.training)], _EVALUATED_ON
    )
    return train_ranker(judged), of_test


def _ask(retriever: Retriever, question: JudgedQuestion, ranker: Ranker | None) -> _Answer:
    request = SearchRequest(question.question, TENANT, _EVALUATED_ON, top_k=DEPTH)
    started = time.perf_counter()
    found = retriever.first_stage(request)
    if found is not None and ranker is not None:
        ranker.scores(found.features(_EVALUATED_ON))
    latency = (time.perf_counter() - started) * 1000
    names = tuple(_names(found)) if found else ()
    return _Answer(found, names, latency)


def _reordered(answer: _Answer, ranker: Ranker | None) -> list[str]:
    if answer.found is None or ranker is None:
        return list(answer.names)
    scores = ranker.scores(answer.found.features(_EVALUATED_ON))
    order = [*np.argsort(-scores, kind="stable").tolist(), *range(len(scores), len(answer.names))]
    return [answer.names[place] for place in order]


def _names(found: FirstStage) -> list[str]:
    heads = (found.library.documents[place].head for place in map(int, found.candidates.positions))
    return [head.path or head.document_id for head in heads]


def _identities(found: FirstStage) -> list[frozenset[str]]:
    heads = (found.library.documents[place].head for place in map(int, found.candidates.positions))
    return [frozenset((head.path, head.document_id)) for head in heads]


def _gain(ranking: Sequence[str], question: JudgedQuestion) -> float:
    return ndcg(ranking, question.grades or question.relevant)


def _measured(rankings: Sequence[Sequence[str]], questions: Sequence[JudgedQuestion]) -> Measured:
    judged = list(zip(rankings, questions, strict=True))
    return Measured(
        ndcg_at_10=statistics.fmean(_gain(ranking, item) for ranking, item in judged),
        hit_at_1=statistics.fmean(hit(ranking, item.relevant, 1) for ranking, item in judged),
        hit_at_5=statistics.fmean(hit(ranking, item.relevant, 5) for ranking, item in judged),
        mrr_at_10=statistics.fmean(reciprocal_rank(ranking, item.relevant) for ranking, item in judged),
    )


def _families(
    questions: Sequence[JudgedQuestion], gains: dict[str, Scores], groups: Sequence[str]
) -> dict[str, dict[str, float]]:
    families: dict[str, dict[str, float]] = {}
    for family in sorted({question.family for question in questions}):
        places = [place for place, question in enumerate(questions) if question.family == family]
        row = {"questions": float(len(places))}
        row |= {f"{name}_ndcg_at_10": float(values[places].mean()) for name, values in gains.items()}
        difference = (gains["first_stage"] - gains["bm25"])[places]
        _, row["fused_over_bm25_low"], row["fused_over_bm25_high"] = paired_bootstrap(
            difference, [groups[place] for place in places]
        )
        families[family] = row
    return families


def _baseline(points: Sequence[IndexPoint]) -> Callable[[str], list[str]]:
    """Plain BM25 over the same chunks: words as written, no identifiers taken apart, no stems."""
    index = PassageIndex([_word_keys(f"{item.passage.title}\n{item.passage.text}") for item in points])
    names = [point.passage.path or point.passage.document_id for point in points]

    def ranking(question: str) -> list[str]:
        scores = index.key_scores(np.unique(_word_keys(question)).astype(np.uint32))
        order: list[int] = np.argsort(-scores, kind="stable")[: 20 * DEPTH].tolist()
        return list(dict.fromkeys(names[place] for place in order if scores[place] > 0))

    return ranking


def _word_keys(text: str) -> Keys:
    words = re.findall(r"\w+", text.lower())
    return np.fromiter((term_id(word) for word in words), np.uint32, len(words))
