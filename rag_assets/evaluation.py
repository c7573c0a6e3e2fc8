"""How good retrieval is: nDCG@10, hit rates and MRR on questions whose right documents are known.

Judged at the level of documents, through the same chunks, engine and fusion that answer users.
Avoid training here; a collection is only read.
"""

import json
import math
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rag_assets.analysis import term_id
from rag_assets.chunking import ChunkerSettings
from rag_assets.documents import read_folder
from rag_assets.embedding import Embedder
from rag_assets.embedding_cache import EmbeddingKeeper
from rag_assets.index.contract import IndexPoint, TenantScope
from rag_assets.index.points import make_points
from rag_assets.index.verification import Check, RetrievalGate
from rag_assets.lexical import passage_weights
from rag_assets.retrieval import Retriever, SearchRequest

_DEPTH = 10
_EVALUATED_ON = date(2100, 1, 1)  # public collections carry no effective dates; every document counts


@dataclass(frozen=True)
class JudgedQuestion:
    """A question and the documents that answer it.

    Attributes:
        relevant: Paths or ids of documents.
        family: Group that figures are also reported by.
        tenant_id: Whose documents; empty in collections without tenants.
    """

    question: str
    relevant: frozenset[str]
    family: str = ""
    tenant_id: str = ""


@dataclass(frozen=True)
class RetrievalQuality:
    """Means over questions; `query_p95_ms` is measured with one question at a time."""

    question_count: int
    first_stage_ndcg_at_10: float
    hit_at_1: float
    hit_at_5: float
    mrr_at_10: float
    bm25_ndcg_at_10: float
    query_p95_ms: float


def read_questions(path: Path) -> tuple[JudgedQuestion, ...]:
    """Read a JSON Lines file: `query` (or `question`), `relevant` (list), optionally `family`, `tenant_id`.

    Raises:
        ValueError: A line is not such an object; the message names it.
    """
    questions: list[JudgedQuestion] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            relevant = frozenset(str(item) for item in row["relevant"])
            questions.append(
                JudgedQuestion(
                    str(row.get("query") or row["question"]),
                    relevant,
                    row.get("family", ""),
                    row.get("tenant_id", ""),
                )
            )
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path}, line {number}: expected {{"query": …, "relevant": […]}}: {error!r}'
            ) from error
    return tuple(questions)


def evaluate_folder(
    corpus: Path,
    questions: Sequence[JudgedQuestion],
    embedder: Embedder,
    keeper: EmbeddingKeeper,
    settings: ChunkerSettings | None = None,
) -> RetrievalQuality:
    """Index a folder of Markdown in a temporary place and judge the answers to questions.

    Args:
        corpus: Folder; `relevant` of the questions names paths below it.
        questions: At least one.
        embedder: Embedder under test.
        keeper: Where embeddings are kept between evaluations.
        settings: Chunk lengths.

    Raises:
        ValueError: There is no question, or none of the relevant documents is in the folder.
    """
    from rag_assets.index.edge import EdgeStore

    collection = read_folder(corpus, _TENANT)
    paths = {document.path for document in collection.documents}
    if not any(question.relevant & paths for question in questions):
        raise ValueError(f"no document that the questions call relevant is in {corpus}")
    made = make_points(collection.documents, embedder, keeper, settings or ChunkerSettings())
    with tempfile.TemporaryDirectory(prefix="opsgraph-eval-") as folder:
        store = EdgeStore(Path(folder))
        writer = store.create("evaluated", embedder.dimension)
        writer.add(made.points)
        writer.close()
        retriever = Retriever(store.open("evaluated"), embedder)
        try:
            return _judge(retriever, questions, _baseline(made.points))
        finally:
            retriever.close()


_TENANT = "evaluated"


def ndcg(ranking: Sequence[str], relevant: frozenset[str]) -> float:
    """Normalized discounted cumulative gain of the first ten, gains 0 or 1.

    >>> ndcg(["b", "a"], frozenset({"a"}))  # 1 / log2(3)
    0.6309297535714575
    """
    gain = sum(1 / math.log2(rank + 2) for rank, item in enumerate(ranking[:_DEPTH]) if item in relevant)
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(_DEPTH, len(relevant))))
    return gain / ideal if ideal else 0.0


def reciprocal_rank(ranking: Sequence[str], relevant: frozenset[str]) -> float:
    """1 / rank of the first relevant document among the first ten, else 0."""
    return next((1 / rank for rank, item in enumerate(ranking[:_DEPTH], start=1) if item in relevant), 0.0)


def hit(ranking: Sequence[str], relevant: frozenset[str], depth: int) -> bool:
    """Whether one of the first `depth` documents is relevant."""
    return any(item in relevant for item in ranking[:depth])


def golden_gate(
    questions: Sequence[JudgedQuestion], asked_on: date, minimum_hit_at_5: float = 0.9
) -> RetrievalGate:
    """A gate for index builds: golden questions must find their documents.

    Args:
        questions: With tenants; `relevant` names document ids.
        asked_on: Day on which documents must be current.
        minimum_hit_at_5: Share of questions that must have a right document among the first five.

    Returns:
        A function from retriever to `Check`.
    """

    def gate(retriever: Retriever) -> Check:
        judged = [question for question in questions if _is_answerable(retriever, question)]
        missed: list[str] = []
        for question in judged:
            request = SearchRequest(question.question, question.tenant_id, asked_on)
            found = [item.document.document_id for item in retriever.search(request)]
            if not hit(found, question.relevant, depth=5):
                missed.append(question.question)
        share = 1 - len(missed) / len(judged) if judged else 1.0
        detail = f"{share:.3f} of {len(judged)} golden questions hit (at least {minimum_hit_at_5})"
        return Check(GOLDEN_CHECK, share >= minimum_hit_at_5, "; missed: ".join([detail, *missed[:3]]))

    return gate


GOLDEN_CHECK = "golden_questions_hit_at_5"


def _is_answerable(retriever: Retriever, question: JudgedQuestion) -> bool:
    """Whether the build holds a document that answers; a plant's own corpus need not hold ours."""
    if not question.tenant_id:
        return False
    documents = retriever.library(TenantScope(question.tenant_id)).documents
    return any(document.document_id in question.relevant for document in documents)


def _judge(
    retriever: Retriever, questions: Sequence[JudgedQuestion], baseline: Callable[[str], list[str]]
) -> RetrievalQuality:
    rankings: list[list[str]] = []
    latencies: list[float] = []
    for question in questions:
        request = SearchRequest(question.question, _TENANT, _EVALUATED_ON, top_k=_DEPTH)
        started = time.perf_counter()
        hits = retriever.search(request)
        latencies.append((time.perf_counter() - started) * 1000)
        rankings.append([item.document.head.path for item in hits])
    judged = list(zip(rankings, (question.relevant for question in questions), strict=True))
    plain = [ndcg(baseline(question.question), question.relevant) for question in questions]
    return RetrievalQuality(
        question_count=len(judged),
        first_stage_ndcg_at_10=statistics.fmean(ndcg(*pair) for pair in judged),
        hit_at_1=statistics.fmean(hit(*pair, depth=1) for pair in judged),
        hit_at_5=statistics.fmean(hit(*pair, depth=5) for pair in judged),
        mrr_at_10=statistics.fmean(reciprocal_rank(*pair) for pair in judged),
        bm25_ndcg_at_10=statistics.fmean(plain),
        query_p95_ms=statistics.quantiles(latencies, n=20)[-1] if len(latencies) > 1 else latencies[0],
    )


def _baseline(points: Sequence[IndexPoint]) -> Callable[[str], list[str]]:
    """Plain BM25 over the same chunks: words as written, no identifiers taken apart, no stems."""
    weights = passage_weights([_words(f"{item.passage.title}\n{item.passage.text}") for item in points])
    paths = [point.passage.path for point in points]

    def ranking(question: str) -> list[str]:
        wanted = {term_id(word) for word in _words(question)}
        best: dict[str, float] = {}
        for path, passage in zip(paths, weights, strict=True):
            score = sum(passage.get(word, 0.0) for word in wanted)
            if score > best.get(path, 0.0):
                best[path] = score
        return sorted(best, key=lambda path: -best[path])

    return ranking


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
