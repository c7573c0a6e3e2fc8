"""One contract, every engine: what retrieval relies on must hold in each of them."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from word_embedder import MemoryKeeper, WordEmbedder

from rag_assets.chunking import ChunkerSettings
from rag_assets.documents import Document
from rag_assets.index.contract import (
    BuildUnavailableError,
    IndexPoint,
    MissingTenantError,
    OpenBuild,
    TenantScope,
    VectorQuery,
    VectorStore,
)
from rag_assets.index.edge import EdgeStore
from rag_assets.index.points import make_points
from rag_assets.index.server import ServerStore

BUILD = f"build-{uuid.uuid4().hex[:8]}"
EMBEDDER = WordEmbedder()


def document(tenant: str, name: str, text: str) -> Document:
    return Document(tenant, name, "1", name.title(), f"{name}.md", "", text, tags=("x",))


def points() -> tuple[IndexPoint, ...]:
    """Two tenants with nearly the same documents."""
    documents = [
        document(tenant, name, f"# {name}\n\n{text}")
        for tenant in ("north", "south")
        for name, text in (
            ("seal", f"Replace the pump seal when it leaks ({tenant})."),
            ("belt", f"Tension the drive belt of the conveyor ({tenant})."),
        )
    ]
    return make_points(documents, EMBEDDER, MemoryKeeper(), ChunkerSettings()).points


@pytest.fixture(params=["edge", "server-local", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    """Each engine; the real server only where one is named."""
    if request.param == "edge":
        yield EdgeStore(tmp_path, wait_seconds=0.2)
        return
    url = os.environ.get("QDRANT_URL")
    if request.param == "server" and not url:
        pytest.skip("QDRANT_URL is not set")
    from qdrant_client import QdrantClient

    client = QdrantClient(url=url) if request.param == "server" else QdrantClient(":memory:")
    server = ServerStore(client)
    yield server
    server.drop(BUILD)
    client.close()


@pytest.fixture
def build(store: VectorStore) -> Iterator[OpenBuild]:
    """A finished build, open."""
    writer = store.create(BUILD, EMBEDDER.dimension)
    writer.add(points())
    writer.close()
    opened = store.open(BUILD)
    yield opened
    opened.close()


def test_what_was_written_is_what_is_read(build: OpenBuild) -> None:
    """Forbids an engine that drops or changes payloads."""
    expected = {point.passage.chunk_id: point.passage for point in points()}

    assert build.count() == len(expected) == 4
    assert {passage.chunk_id: passage for passage in build.passages()} == expected


def test_named_passages_and_their_vectors_are_read_alone(build: OpenBuild) -> None:
    """Forbids that following a small change reads everything, or something else than what was named."""
    wanted = points()[0]
    name = wanted.passage.chunk_id
    vectors = dict(build.document_vectors())

    assert list(build.passages([name, str(uuid.uuid4())])) == [wanted.passage]
    read = dict(build.document_vectors([name]))
    assert list(read) == [name]
    assert {key: vector.tolist() for key, vector in read[name].items()} == {
        key: vector.tolist() for key, vector in vectors[name].items()
    }
    assert list(build.passages([])) == []


def test_texts_are_those_of_the_passages(build: OpenBuild) -> None:
    """Forbids that verification compares something else than what is served."""
    expected = {(item.chunk_id, item.title, item.text) for item in build.passages()}

    assert set(build.texts()) == expected
    assert len(expected) == 4


def test_a_search_sees_one_tenant(build: OpenBuild) -> None:
    """Forbids a leak: the other tenant's documents are near-identical and would rank next."""
    tenants = {passage.chunk_id: passage.tenant_id for passage in build.passages()}
    vector = EMBEDDER.embed(["replace the pump seal"])[0]
    queries = [VectorQuery(name, 10, vector) for name in ("passage", "title", "lead")]

    for tenant in ("north", "south"):
        rankings = build.search(TenantScope(tenant), queries)
        assert [len(ranking) for ranking in rankings] == [2, 2, 2]
        assert {tenants[hit.chunk_id] for ranking in rankings for hit in ranking} == {tenant}
    assert build.search(TenantScope("nobody"), queries) == [[], [], []]


@pytest.mark.parametrize("tenant", ["", "  "])
def test_a_search_without_tenant_cannot_be_written(tenant: str) -> None:
    """Forbids that a forgotten filter means 'all tenants'."""
    with pytest.raises(MissingTenantError):
        TenantScope(tenant)


def test_excluded_documents_do_not_come_back(build: OpenBuild) -> None:
    """Forbids that a superseded document takes a place in the ranking."""
    query = VectorQuery("passage", 10, EMBEDDER.embed(["replace the pump seal"])[0])
    titles = {passage.chunk_id: passage.title for passage in build.passages()}

    scope = TenantScope("north", frozenset({"seal@1"}))

    assert [titles[hit.chunk_id] for hit in build.search(scope, [query])[0]] == ["Belt"]


def test_scores_are_raw_cosines(build: OpenBuild) -> None:
    """Forbids an engine that normalizes or fuses: evidence is judged on these numbers."""
    point = next(item for item in points() if item.passage.title == "Seal")
    query = VectorQuery("passage", 1, point.dense["passage"])

    found = build.search(TenantScope(point.passage.tenant_id), [query])[0]

    assert found[0].score == pytest.approx(1.0, abs=1e-4)


def test_search_terms_come_back(build: OpenBuild) -> None:
    """Forbids that opening a build has to take every text apart again, or finds other words."""
    expected = {point.passage.chunk_id: point.passage.words for point in points()}

    for passage in build.passages():
        wanted = expected[passage.chunk_id]
        assert {name: keys.tolist() for name, keys in passage.words.items()} == {
            name: keys.tolist() for name, keys in wanted.items()
        }


def test_a_build_on_a_base_has_what_changed_and_what_did_not(store: VectorStore, build: OpenBuild) -> None:
    """Forbids that an incremental build loses points of its base, or writes into the base."""
    first, *others = sorted(passage.chunk_id for passage in build.passages())
    build.close()
    following = f"{BUILD}-next"
    writer = store.create(following, EMBEDDER.dimension, base=BUILD)
    writer.remove([first])
    writer.close()

    opened = store.open(following)
    kept = sorted(passage.chunk_id for passage in opened.passages())
    found = opened.search(TenantScope("north"), [VectorQuery("passage", 10, EMBEDDER.embed(["seal"])[0])])
    opened.close()
    store.drop(following)
    assert kept == others
    assert first not in {hit.chunk_id for hit in found[0]}
    again = store.open(BUILD)
    assert again.count() == 4
    again.close()


def test_an_unfinished_build_cannot_be_opened(store: VectorStore) -> None:
    """Forbids that readers find half of an index."""
    writer = store.create(BUILD, EMBEDDER.dimension)
    writer.add(points()[:1])

    assert not store.exists(BUILD)
    with pytest.raises(BuildUnavailableError):
        store.open(BUILD)
    writer.close()
    assert store.exists(BUILD)


def test_a_build_can_be_started_again_and_dropped(store: VectorStore) -> None:
    """Forbids that leftovers of a killed builder end up in the next build."""
    abandoned = store.create(BUILD, EMBEDDER.dimension)
    abandoned.add(points())
    writer = store.create(BUILD, EMBEDDER.dimension)
    writer.add(points()[:1])
    writer.close()

    opened = store.open(BUILD)
    assert opened.count() == 1
    opened.close()
    store.drop(BUILD)
    assert not store.exists(BUILD)


def test_the_embedded_engine_lets_one_reader_in(tmp_path: Path) -> None:
    """Forbids two owners of one folder: both would write its files when they close."""
    store = EdgeStore(tmp_path, wait_seconds=0.2)
    writer = store.create(BUILD, EMBEDDER.dimension)
    writer.add(points())
    writer.close()
    first = store.open(BUILD)

    with pytest.raises(BuildUnavailableError, match="held by another process"):
        EdgeStore(tmp_path, wait_seconds=0.2).open(BUILD)
    first.close()
    EdgeStore(tmp_path, wait_seconds=0.2).open(BUILD).close()


def test_a_build_that_is_removed_while_it_is_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids the engine's own words for a retired build, and a lock file that nobody removes any more."""
    store = EdgeStore(tmp_path, wait_seconds=0.2)
    store.create(BUILD, EMBEDDER.dimension).close()
    monkeypatch.setattr("rag_assets.index.edge._read_ahead", lambda _: store.drop(BUILD))

    with pytest.raises(BuildUnavailableError, match=f"{BUILD} is not in"):
        store.open(BUILD)
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_is_removed_while_its_lock_is_taken_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids the same a moment earlier: the lock file is made anew in an empty place."""
    store = EdgeStore(tmp_path, wait_seconds=0.2)
    store.create(BUILD, EMBEDDER.dimension).close()
    lock = EdgeStore._lock

    def removed_before(self: EdgeStore, build_id: str) -> object:
        store.drop(build_id)
        return lock(self, build_id)

    monkeypatch.setattr(EdgeStore, "_lock", removed_before)

    with pytest.raises(BuildUnavailableError, match=f"{BUILD} is not in"):
        store.open(BUILD)
    assert list(tmp_path.iterdir()) == []
