"""A day of questions against a corpus that changes all the time: what is kept, and what is never kept."""

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from word_embedder import MemoryKeeper, WordEmbedder

from rag_assets.chunking import ChunkerSettings
from rag_assets.documents import Document
from rag_assets.index.edge import EdgeStore
from rag_assets.index.points import make_points
from rag_assets.rerank.features import NAMES
from rag_assets.rerank.rankers import LinearRanker
from rag_assets.retrieval import RetrievalCaches, Retriever, SearchHit, SearchRequest

ON = date(2026, 6, 1)
PLANT = "plant"
LETTERS = ("bcdfgklmnprst", "aeiou")
DOCUMENTS, WORDS, WORDS_EACH = 40, 2_000, 100
KINDS, ASKED, ASKED_PER_CHANGE, LATE = 60, 600, 30, 1

Corpus = Mapping[str, Document]


class Plant:
    """Documents of made-up words, rare and frequent ones, and the questions of a day."""

    def __init__(self, seed: int = 7) -> None:
        self.draw = random.Random(seed)
        self._words = ["".join(self.draw.choice(of) for of in LETTERS * 3) for _ in range(WORDS)]
        self._weights = list(accumulate(1 / (rank + 5) for rank in range(WORDS)))
        self._count = 0
        self.corpus: dict[str, Document] = {}
        for _ in range(DOCUMENTS):
            self.write()

    def write(self, name: str | None = None) -> None:
        """A new document, or another text for one that is there."""
        self._count += 1
        words = self.draw.choices(self._words, cum_weights=self._weights, k=WORDS_EACH)
        self.corpus[name or f"d{self._count}"] = document(name or f"d{self._count}", " ".join(words))

    def change(self) -> None:
        """One document is written, rewritten or withdrawn."""
        name = self.draw.choice(sorted(self.corpus))
        kind = self.draw.randrange(3)
        if kind == 0:
            del self.corpus[name]
        else:
            self.write(name if kind == 1 else None)

    def day(self) -> list[str]:
        """The k-th most frequent question is asked in proportion to 1 / k."""
        texts = [item.content.split() for item in self.corpus.values()]
        kinds = [
            " ".join(self.draw.sample(self.draw.choice(texts), self.draw.randint(4, 8))) for _ in range(KINDS)
        ]
        weights = list(accumulate(1 / rank for rank in range(1, KINDS + 1)))
        return self.draw.choices(kinds, cum_weights=weights, k=ASKED)


def document(name: str, text: str, tenant: str = PLANT, supersedes: tuple[str, ...] = ()) -> Document:
    title = " ".join(text.split()[:3])
    content = f"# {title}\n\n{text}\n"
    return Document(tenant, name, "1", title, f"{name}.md", "", content, supersedes=supersedes)


def few() -> Corpus:
    """Documents of some words each."""
    texts = ("seal leaks at the pump", "belt slips under load", "bearing runs hot", "valve sticks when cold")
    return {name: document(name, text) for name, text in zip("abcd", texts, strict=True)}


def ranker() -> LinearRanker:
    """Some order that is not that of the first stage."""
    weights = np.array([float(name in ("coverage", "passage_score", "names_score")) for name in NAMES])
    return LinearRanker("logistic", weights, np.zeros(len(NAMES)), np.ones(len(NAMES)))


@contextmanager
def opened(folder: Path, corpus: Corpus, caches: RetrievalCaches | None) -> Iterator[Retriever]:
    embedder = WordEmbedder()
    store = EdgeStore(folder)
    writer = store.create("build", embedder.dimension)
    made = make_points(list(corpus.values()), embedder, MemoryKeeper(), ChunkerSettings())
    writer.add(made.points)
    writer.close()
    retriever = Retriever(store.open("build"), embedder, ranker(), caches)
    try:
        yield retriever
    finally:
        retriever.close()


def told(hits: tuple[SearchHit, ...]) -> list[tuple[str, str]]:
    """What an answer would cite, in order."""
    return [(hit.document.key, hit.passage.content_hash) for hit in hits]


def search(retriever: Retriever, question: str, tenant: str = PLANT) -> tuple[SearchHit, ...]:
    return retriever.search(SearchRequest(question, tenant, ON))


def test_a_day_of_questions_while_the_corpus_changes_all_the_time(tmp_path: Path) -> None:
    """Forbids a cache that a change of one document empties, and one that outlives the corpus.

    One of 40 documents changes every 30 questions, 20 times in all, and the reader learns of it one question
    late. Each question is also searched without a cache, and must cite the same.
    """
    plant, caches, stale = Plant(), RetrievalCaches(), 0
    questions = plant.day()
    late: Retriever | None = None
    with ExitStack() as stack:
        for start in range(0, ASKED, ASKED_PER_CHANGE):
            served = stack.enter_context(opened(tmp_path / str(start), plant.corpus, caches))
            fresh = Retriever(served.build, WordEmbedder(), ranker())
            for number, question in enumerate(questions[start : start + ASKED_PER_CHANGE]):
                given = search(late if late and number < LATE else served, question)
                stale += told(given) != told(search(fresh, question))
            late = served
            plant.change()

    assert caches.results.use.hit_rate > 0.7, caches.results.use
    assert caches.vectors.use.misses == len(set(questions))  # none is embedded twice
    assert stale / ASKED < 0.01, stale


def test_a_document_that_would_now_be_found_is_found(tmp_path: Path) -> None:
    """Forbids that a kept answer hides the runbook that was written because of the question."""
    caches, question = RetrievalCaches(), "gearbox whines"
    with opened(tmp_path / "before", few(), caches) as retriever:
        search(retriever, question)
    written = {**few(), "new": document("new", "gearbox whines in third gear")}
    with opened(tmp_path / "after", written, caches) as retriever:
        first = search(retriever, question)[0]

    assert first.document.document_id == "new"
    assert caches.results.use.misses == 2


@pytest.mark.parametrize("change", ["rewritten", "withdrawn", "superseded"])
def test_what_an_answer_rests_on_is_never_kept_when_it_changes(tmp_path: Path, change: str) -> None:
    """Forbids citing a text that is no more: rewritten, withdrawn, or replaced by another document."""
    caches, question, corpus = RetrievalCaches(), "seal leaks", dict(few())
    with opened(tmp_path / "before", corpus, caches) as retriever:
        before = search(retriever, question)[0]
    assert before.document.document_id == "a"
    if change == "withdrawn":
        del corpus["a"]
    elif change == "rewritten":
        corpus["a"] = document("a", "seal leaks at the flange")
    else:
        corpus["e"] = document("e", "seal drips at the pump", supersedes=("a",))
    with opened(tmp_path / "after", corpus, caches) as retriever:
        after = [hit.passage.content_hash for hit in search(retriever, question)]

    assert before.passage.content_hash not in after
    assert caches.results.use.confirmed == 0


def test_another_tenants_change_costs_nothing(tmp_path: Path) -> None:
    """Forbids that a busy tenant empties the cache of all others."""
    caches, corpus = RetrievalCaches(), dict(few())
    for number in range(3):
        corpus["theirs"] = document("a", f"seal leaks since day {number}", tenant="neighbour")
        with opened(tmp_path / str(number), corpus, caches) as retriever:
            search(retriever, "seal leaks")

    use = caches.results.use
    assert (use.hits, use.confirmed, use.misses) == (2, 0, 1)


def test_another_ranker_orders_from_the_next_search_on(tmp_path: Path) -> None:
    """Forbids that a promoted ranker waits for the next build, or that a kept order outlives it."""
    caches, question = RetrievalCaches(), "seal slips hot"
    with opened(tmp_path, few(), caches) as retriever:
        before = told(search(retriever, question))
        reversed_weights = replace(ranker(), weights=-ranker().weights)
        retriever.serve({PLANT: reversed_weights})
        after = told(search(retriever, question))
        retriever.serve({})
        again = told(search(retriever, question))

    assert before != after
    assert again == before
    assert caches.results.use.hits == 1


def test_a_copy_takes_no_second_place(tmp_path: Path) -> None:
    """Forbids five places with one text: a folder that was copied would fill the answer."""
    corpus = {
        **few(),
        **{f"copy{number}": document(f"copy{number}", "seal leaks at the pump") for number in range(6)},
    }
    with opened(tmp_path, corpus, None) as retriever:
        texts = [hit.passage.text for hit in search(retriever, "seal leaks")]

    assert len(texts) == len(set(texts)) == 4  # one text of seven documents, and three others
