"""How long a search takes in process, question to ranked passages, beside qdrant-client's local mode.

`make bench ONLY=search`. The project's corpus and, where they are, the public runbooks as a second
tenant (about 4,200 chunks in all); the tenant filter is on. One question at a time.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

from orchestration.environment import PROJECT_ROOT, Environment
from orchestration.figures import Figure, report
from rag_assets.analysis import searchable, term_id, terms
from rag_assets.chunking import ChunkerSettings
from rag_assets.documents import CORPUS_DIR, Document, read_folder
from rag_assets.embedding import MiniLmEmbedder, Vectors
from rag_assets.embedding_cache import FileKeeper
from rag_assets.evaluation.questions import JudgedQuestion, read_questions
from rag_assets.index.contract import IndexPoint
from rag_assets.index.edge import EdgeStore
from rag_assets.index.points import make_points
from rag_assets.retrieval import RRF_K, Retriever, SearchRequest

COMMAND = "make bench ONLY=search"
GOLDEN = PROJECT_ROOT / "tests" / "evals" / "golden" / "questions.jsonl"
ASKED_ON = date(2026, 11, 21)
PUBLIC = "public-runbooks"
WARM_UP = 10


class GivenVectors:
    """Gives out vectors that were computed before: what is left is the search itself."""

    name, dimension = MiniLmEmbedder.name, MiniLmEmbedder.dimension

    def __init__(self, questions: Sequence[str], vectors: Vectors) -> None:
        self._vectors = dict(zip(questions, vectors, strict=True))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The stored vectors."""
        import numpy as np

        return np.stack([self._vectors[text] for text in texts])


def main() -> None:
    """Measure, report, and fail when a bar is not held."""
    environment = Environment()
    embedder = MiniLmEmbedder(environment.state_dir / "models")
    with closing(FileKeeper(environment.state_dir / "cache" / "embeddings.sqlite")) as keeper:
        points = make_points(_documents(environment), embedder, keeper, ChunkerSettings()).points
    questions = [question for question in read_questions(GOLDEN) if question.relevant]
    texts = [question.question for question in questions]
    given = GivenVectors(texts, embedder.embed(texts))
    with tempfile.TemporaryDirectory(prefix="opsgraph-bench-") as folder:
        store = EdgeStore(Path(folder))
        writer = store.create("bench", embedder.dimension)
        writer.add(points)
        writer.close()
        retriever = Retriever(store.open("bench"), embedder)
        whole = _latencies(lambda question: _search(retriever, question), questions)
        retriever.close()
        retriever = Retriever(store.open("bench"), given)
        first_stage = _latencies(lambda question: _search(retriever, question), questions)
        retriever.close()
    local = _latencies(_local_mode(points, given), questions)
    peer: dict[str, Any] = {"peer": "qdrant-client local mode", "peer_value": _p95(local)}
    figures = [
        Figure("search_p95", _p95(whole), "ms", "lower", bar=10.0, command=COMMAND),
        Figure("search_p50", statistics.median(whole), "ms", "lower", command=COMMAND),
        Figure("search_without_embedding_p95", _p95(first_stage), "ms", "lower", **peer, command=COMMAND),
        Figure("search_chunks", len(points), "chunks", "higher", command=COMMAND),
    ]
    report("search", figures)
    if any(figure.holds is False for figure in figures):
        raise SystemExit("search: a bar is not held")


def _documents(environment: Environment) -> tuple[Document, ...]:
    documents = read_folder(CORPUS_DIR).documents
    public = environment.data_dir / "runbooks" / "corpus"
    return (*documents, *read_folder(public, PUBLIC).documents) if public.is_dir() else documents


def _search(retriever: Retriever, question: JudgedQuestion) -> None:
    retriever.search(SearchRequest(question.question, question.tenant_id, ASKED_ON))


def _latencies(search: Callable[[JudgedQuestion], None], questions: Sequence[JudgedQuestion]) -> list[float]:
    """Milliseconds per question, after a few to warm up."""
    for question in questions[:WARM_UP]:
        search(question)
    spent: list[float] = []
    for question in questions:
        started = time.perf_counter()
        search(question)
        spent.append((time.perf_counter() - started) * 1000)
    return spent


def _p95(latencies: Sequence[float]) -> float:
    return statistics.quantiles(latencies, n=20)[-1]


def _local_mode(points: Sequence[IndexPoint], embedder: GivenVectors) -> Callable[[JudgedQuestion], None]:
    """The usual hybrid query of qdrant-client without a server: dense and BM25, fused, filtered."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    client.create_collection(
        "bench",
        vectors_config={
            "passage": models.VectorParams(size=embedder.dimension, distance=models.Distance.COSINE)
        },
        sparse_vectors_config={"bm25": models.SparseVectorParams()},
    )
    client.upload_points(
        "bench",
        [
            models.PointStruct(
                id=point.passage.chunk_id,
                vector={
                    "passage": point.dense["passage"].tolist(),
                    "bm25": models.SparseVector(
                        indices=list(point.sparse), values=list(point.sparse.values())
                    ),
                },
                payload=point.passage.payload(),
            )
            for point in points
        ],
    )

    def search(question: JudgedQuestion) -> None:
        tenant = models.FieldCondition(key="tenant_id", match=models.MatchValue(value=question.tenant_id))
        restriction = models.Filter(must=[tenant])
        ids = list({term_id(term) for term in terms(searchable(question.question))})
        sparse = models.SparseVector(indices=ids, values=[1.0] * len(ids))
        dense = embedder.embed([question.question])[0].tolist()
        client.query_points(
            "bench",
            prefetch=[
                models.Prefetch(query=dense, using="passage", filter=restriction, limit=100),
                models.Prefetch(query=sparse, using="bm25", filter=restriction, limit=100),
            ],
            query=models.RrfQuery(rrf=models.Rrf(k=RRF_K)),
            limit=5,
        )

    return search


if __name__ == "__main__":
    main()
