"""Tenants who own nearly the same documents never see each other's: randomised questions over one build."""

import random
from collections.abc import Iterator
from datetime import date

import pytest
from word_embedder import MemoryKeeper, WordEmbedder

from rag_assets.chunking import ChunkerSettings
from rag_assets.documents import Document
from rag_assets.index.contract import MissingTenantError, OpenBuild, TenantLeakError
from rag_assets.index.edge import EdgeStore
from rag_assets.index.points import make_points
from rag_assets.retrieval import RetrievalCaches, Retriever, SearchRequest

ON = date(2026, 6, 1)
TENANTS = ("north", "south", "east")
PARTS = ("seal", "belt", "bearing", "filter", "valve", "coupling", "motor", "sensor")
FAULTS = ("leaks", "slips", "overheats", "vibrates", "clogs", "sticks")
QUERIES = 10_000


def documents() -> list[Document]:
    """Word for word the same in every tenant but for one code, which names its owner."""
    return [
        Document(
            tenant, f"{part}-{fault}", "1", f"{part} {fault}", f"{part}-{fault}.md", "",
            f"# {part} {fault}\n\nWhen the {part} {fault}, stop. Code {tenant.upper()}-{number}.\n",
        )
        for tenant in TENANTS
        for number, (part, fault) in enumerate((part, fault) for part in PARTS for fault in FAULTS)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBuild]:
    """One build with all tenants."""
    embedder = WordEmbedder()
    store = EdgeStore(tmp_path_factory.mktemp("index"))
    writer = store.create("shared", embedder.dimension)
    writer.add(make_points(documents(), embedder, MemoryKeeper(), ChunkerSettings()).points)
    writer.close()
    opened = store.open("shared")
    yield opened
    opened.close()


def test_ten_thousand_questions_leak_nothing(build: OpenBuild) -> None:
    """Forbids one forgotten filter: documents of the others are as near as one's own.

    Half of the questions name a code of another tenant.
    """
    retriever = Retriever(build, WordEmbedder(), caches=RetrievalCaches())
    draw = random.Random(7)
    leaked = answered = 0
    for _ in range(QUERIES):
        tenant, other = draw.sample(TENANTS, 2)
        words = [draw.choice(PARTS), draw.choice(FAULTS)]
        if draw.random() < 0.5:
            words.append(f"{other.upper()}-{draw.randrange(48)}")
        draw.shuffle(words)
        hits = retriever.search(SearchRequest(" ".join(words), tenant, ON, top_k=draw.choice((1, 5, 10))))
        answered += bool(hits)
        leaked += any(
            hit.passage.tenant_id != tenant or tenant.upper() not in hit.passage.text for hit in hits
        )

    assert (leaked, answered) == (0, QUERIES)


@pytest.mark.parametrize("tenant", ["", " "])
def test_a_missing_tenant_is_an_error_on_every_path(build: OpenBuild, tenant: str) -> None:
    """Forbids that 'no tenant' means 'all', in the search, in a cached search, and in the cache itself."""
    caches = RetrievalCaches()
    for retriever in (
        Retriever(build, WordEmbedder()),
        Retriever(build, WordEmbedder(), caches=caches),
    ):
        with pytest.raises(MissingTenantError):
            retriever.search(SearchRequest("seal leaks", tenant, ON))
    with pytest.raises(MissingTenantError):
        caches.vectors.get_or_make(
            tenant, "words", "seal leaks", lambda: WordEmbedder().embed_question("seal")
        )


def test_an_unknown_tenant_finds_nothing(build: OpenBuild) -> None:
    """Forbids that a misspelt tenant falls back to somebody's documents."""
    assert Retriever(build, WordEmbedder()).search(SearchRequest("seal leaks", "nort", ON)) == ()


def test_an_engine_that_ignores_the_filter_stops_the_query(build: OpenBuild) -> None:
    """Forbids that the engine's filter is the only guard."""

    class Unfiltered:
        """Answers for another tenant than asked."""

        def __getattr__(self, name: str) -> object:
            return getattr(build, name)

        def search(self, scope: object, queries: object) -> object:
            """The south's passages, whoever asks."""
            from rag_assets.index.contract import TenantScope

            return build.search(TenantScope("south"), queries)  # type: ignore[arg-type]

    retriever = Retriever(Unfiltered(), WordEmbedder())  # type: ignore[arg-type]
    with pytest.raises(TenantLeakError):
        retriever.search(SearchRequest("seal leaks", "north", ON))
