"""How fast search is in process over 20,000 chunks with the tenant filter on, beside two peers.

`make bench ONLY=search`. The public runbooks five times over (every copy's vectors moved a little, so that
scores differ) are one tenant, the project's corpus another; where the runbooks are missing the project's
corpus is multiplied. Short questions have 8 to 12 words; an alert is a question with text around it, about
200 word pieces. Both are reranked by a ranker that was fitted on the same questions: its speed is measured
here, not its quality.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from orchestration.environment import Environment
from orchestration.figures import Figure, report
from rag_assets.chunking import ChunkerSettings
from rag_assets.documents import CORPUS_DIR, read_folder
from rag_assets.embedding import MiniLmEmbedder, Vectors
from rag_assets.embedding_cache import FileKeeper
from rag_assets.evaluation.collection import judged_candidates
from rag_assets.evaluation.questions import JudgedQuestion, read_questions
from rag_assets.index.contract import IndexPoint
from rag_assets.index.edge import EdgeStore
from rag_assets.index.points import make_points
from rag_assets.rerank.rankers import fit_logistic
from rag_assets.retrieval import RetrievalCaches, Retriever, SearchRequest
from tests.benchmarks.search_peers import langchain_search, local_mode_search

COMMAND = "make bench ONLY=search"
ASKED_ON = date(2026, 11, 21)
TENANT = "public-runbooks"
CHUNKS = 20_000
WARM_UP, PEER_QUESTIONS = 10, 25
Search = Callable[[str], object]


class GivenVectors:
    """Gives out vectors that were computed before: what is left is the search itself."""

    def __init__(self, embedder: MiniLmEmbedder, questions: Sequence[str]) -> None:
        self.name, self.dimension = embedder.name, embedder.dimension
        self._vectors = {question: embedder.embed_question(question) for question in questions}

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The stored vectors."""
        return np.stack([self._vectors[text] for text in texts])

    def embed_question(self, text: str) -> Vectors:
        """The stored vector."""
        return self._vectors[text]


def main() -> None:
    """Measure, report, and fail when a bar is not held."""
    environment = Environment()
    models = environment.state_dir / "models"
    embedder, eight_bit = MiniLmEmbedder(models), MiniLmEmbedder(models, precision="int8")
    questions, points = _questions(environment), _points(environment, embedder)
    short = [item.question for item in questions if 8 <= len(item.question.split()) <= 12][:100]
    alerts = [_alert(item.question, points[place].passage.text) for place, item in enumerate(questions[:60])]
    with tempfile.TemporaryDirectory(prefix="opsgraph-bench-") as folder:
        store = EdgeStore(Path(folder))
        writer = store.create("bench", embedder.dimension)
        writer.add(points)
        writer.close()
        started = time.perf_counter()
        retriever = Retriever(store.open("bench"), embedder)
        opened = time.perf_counter() - started
        groups = [str(place) for place in range(len(questions))]
        ranker = fit_logistic(judged_candidates(retriever, questions, groups, ASKED_ON, TENANT), 0.001)
        given = GivenVectors(embedder, short)
        build = retriever._build  # pyright: ignore[reportPrivateUsage]
        first = _latencies(_searching(Retriever(build, given)), short)
        plain = Retriever(build, embedder, ranker)
        figures = _own(first, plain, short, alerts)
        cached = Retriever(build, embedder, ranker, RetrievalCaches())
        figures.append(_rate("search_cached", _searching(cached), short * 20, 1, bar=1000.0))
        retriever.close()
    figures += _embedding(points, embedder, eight_bit)
    figures += _peers(points, embedder, short, figures[1].value)
    figures.append(Figure("search_open_build", opened, "s", "lower", command=COMMAND))
    report("search", figures)
    if any(figure.holds is False for figure in figures):
        raise SystemExit("search: a bar is not held")


def _own(
    first: Sequence[float], plain: Retriever, short: Sequence[str], alerts: Sequence[str]
) -> list[Figure]:
    search = _searching(plain)
    of_short, of_alerts = _latencies(search, short), _latencies(search, alerts)
    return [
        Figure("search_first_stage_p95", _p95(first), "ms", "lower", bar=5.0, command=COMMAND),
        Figure("search_short_p95", _p95(of_short), "ms", "lower", bar=15.0, command=COMMAND),
        Figure("search_short_p50", statistics.median(of_short), "ms", "lower", command=COMMAND),
        Figure("search_alert_p95", _p95(of_alerts), "ms", "lower", bar=40.0, command=COMMAND),
        _rate("search_short", search, short * 3, 2, bar=120.0),
        _rate("search_alert", search, alerts * 2, 2, bar=40.0),
    ]


def _embedding(
    points: Sequence[IndexPoint], embedder: MiniLmEmbedder, eight_bit: MiniLmEmbedder
) -> list[Figure]:
    texts = [f"{point.passage.title}\n{point.passage.text}" for point in points[:300]]
    figures: list[Figure] = []
    for name, model, bar in (("fp32", embedder, 60.0), ("int8", eight_bit, 100.0)):
        model.embed(texts[:16])
        started = time.perf_counter()
        model.embed(texts)
        rate = len(texts) / (time.perf_counter() - started)
        figures.append(Figure(f"embedding_{name}", rate, "chunks/s", "higher", bar=bar, command=COMMAND))
    products = _products_per_second()
    figures.append(Figure("embedding_machine_products", products, "GFLOP/s", "higher", command=COMMAND))
    return figures


def _products_per_second() -> float:
    """What numpy's matrix product reaches here and now: 21 MFLOP per token are the floor of an embedding.

    A machine that gives 150 can't embed more than about 38 chunks of 190 tokens per second in fp32.
    """
    left, right = np.ones((4096, 384), np.float32), np.ones((384, 1536), np.float32)
    product = left @ right
    started = time.perf_counter()
    for _ in range(10):
        np.matmul(left, right, out=product)  # a new array each time: half of the time goes into its pages
    return 10 * 2 * left.size * right.shape[1] / (time.perf_counter() - started) / 1e9


def _peers(
    points: Sequence[IndexPoint], embedder: MiniLmEmbedder, short: Sequence[str], own: float
) -> list[Figure]:
    """The same chunks, questions and tenant filter; our own whole search beside each."""
    asked = short[:PEER_QUESTIONS]
    return [
        Figure(
            f"search_short_p95_beside_{name}", own, "ms", "lower",
            peer=title, peer_value=_p95(_latencies(search, asked, warm_up=2)), command=COMMAND,
        )
        for name, title, search in (
            ("qdrant_local", "qdrant-client local mode", local_mode_search(points, embedder, TENANT)),
            ("langchain", "LangChain vector store retriever", langchain_search(points, embedder, TENANT)),
        )
    ]  # fmt: skip


def _questions(environment: Environment) -> tuple[JudgedQuestion, ...]:
    return read_questions(environment.data_dir / "runbooks" / "queries.jsonl")


def _points(environment: Environment, embedder: MiniLmEmbedder) -> list[IndexPoint]:
    """20,000 points of one tenant, and the project's own beside them."""
    documents = read_folder(environment.data_dir / "runbooks" / "corpus", TENANT).documents
    with closing(FileKeeper(environment.state_dir / "cache" / "embeddings.sqlite")) as keeper:
        made = make_points(documents, embedder, keeper, ChunkerSettings()).points
        own = make_points(read_folder(CORPUS_DIR).documents, embedder, keeper, ChunkerSettings()).points
    random = np.random.default_rng(7)
    points = list(made)
    for copy in itertools.count(1):
        if len(points) >= CHUNKS:
            return [*points[:CHUNKS], *own]
        points.extend(_moved(point, copy, random) for point in made)
    raise AssertionError


def _moved(point: IndexPoint, copy: int, random: np.random.Generator) -> IndexPoint:
    chunk_id = f"{copy:08x}{point.passage.chunk_id[8:]}"
    document_id = f"{point.passage.document_id}-{copy}"
    passage = replace(point.passage, chunk_id=chunk_id, document_id=document_id)
    dense = {}
    for name, vector in point.dense.items():
        moved = vector + random.normal(0, 0.01, vector.shape).astype(np.float32)
        dense[name] = moved / np.linalg.norm(moved)
    return IndexPoint(passage, dense)


def _alert(question: str, text: str) -> str:
    """About 200 word pieces: the question and what an alert carries along."""
    return f"{question} " + " ".join(text.split()[:130])


def _searching(retriever: Retriever) -> Search:
    return lambda question: retriever.search(SearchRequest(question, TENANT, ASKED_ON))


def _rate(name: str, search: Search, questions: Sequence[str], threads: int, bar: float) -> Figure:
    """Questions per second."""
    for question in dict.fromkeys(questions):
        search(question)
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(search, questions))
    rate = len(questions) / (time.perf_counter() - started)
    return Figure(f"{name}_rate", rate, "queries/s", "higher", bar=bar, command=COMMAND)


def _latencies(search: Search, questions: Sequence[str], warm_up: int = WARM_UP) -> list[float]:
    """Milliseconds per question, after a few to warm up."""
    for question in questions[:warm_up]:
        search(question)
    spent: list[float] = []
    for question in questions:
        started = time.perf_counter()
        search(question)
        spent.append((time.perf_counter() - started) * 1000)
    return spent


def _p95(latencies: Sequence[float]) -> float:
    return statistics.quantiles(latencies, n=20)[-1]


if __name__ == "__main__":
    main()
