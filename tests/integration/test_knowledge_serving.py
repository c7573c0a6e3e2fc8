"""Answers from index builds: whose documents, which editions, and while builds take turns."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from indexed_plant import ON, Plant
from word_embedder import WordEmbedder

from rag_assets.copilot.copilot import open_copilot
from rag_assets.index import builds
from rag_assets.index.contract import BuildUnavailableError, Passage
from rag_assets.index.edge import EdgeBuild
from rag_assets.index.live import LiveIndex
from rag_assets.index.refresh import read_source
from rag_assets.index.serving import open_retriever
from rag_assets.retrieval import Retriever, SearchRequest

pytestmark = pytest.mark.integration

Answering = tuple[builds.IndexBuild, Retriever]


def test_an_answering_process_follows_a_small_change_without_reading_the_rest(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids both: that one edited file reads the store anew, and that a new date in it is missed.

    The text of `tray` stays as it is, so its passage keeps its id; only its date changes.
    """
    plant.write("tray", "---\nid: tray\neffective_date: 2026-01-01\n---\nEmpty the drip tray.\n")
    for number in range(8):
        plant.write(f"pump-{number}", f"# Pump {number}\n\n1. Grease coupling {number}.\n")
    asked: list[int | None] = []
    read = EdgeBuild.passages

    def counted(self: EdgeBuild, chunk_ids: Sequence[str] | None = None) -> Iterator[Passage]:
        asked.append(None if chunk_ids is None else len(chunk_ids))
        return read(self, chunk_ids)

    def open_current(earlier: Answering | None) -> Answering:
        with psycopg.connect(plant.database_url, autocommit=True) as connection:
            build = builds.current_build(connection)
            assert build is not None
            return build, open_retriever(connection, plant.store, build, plant.embedder, earlier)

    def found(retriever: Retriever, query: str) -> list[str]:
        return [item.document.document_id for item in retriever.search(SearchRequest(query, "plant", ON))]

    plant.build()
    answering = open_current(None)
    assert found(answering[1], "drip tray")[0] == "tray"
    plant.write("tray", "---\nid: tray\neffective_date: 2027-01-01\n---\nEmpty the drip tray.\n")
    plant.write("seal", "# Pump seal\n\n## Steps\n\n1. Replace the gasket.\n")
    (plant.documents / "belt.md").unlink()
    assert plant.build().base_build_id == answering[0].build_id
    monkeypatch.setattr(EdgeBuild, "passages", counted)
    following = open_current(answering)
    answering[1].close()
    retriever = following[1]

    assert asked == [2]
    assert "tray" not in found(retriever, "drip tray")
    assert found(retriever, "gasket")[0] == "seal"
    assert "belt" not in found(retriever, "tension the drive belt")
    assert found(retriever, "coupling 3")[0] == "pump-3"
    retriever.close()


def test_a_build_of_another_embedder_is_refused_in_words(plant: Plant) -> None:
    """Forbids answers from vectors that mean something else, and a 500 for a setting that does not fit."""
    plant.build()
    other = WordEmbedder()
    other.name = "other-words"

    with (
        closing(open_copilot(plant.database_url, plant.store, other)) as copilot,
        pytest.raises(BuildUnavailableError, match=r"was made with .* this process embeds with other-words"),
    ):
        copilot.search("pump seal", "plant", 5)


def test_superseded_documents_are_never_found(plant: Plant) -> None:
    """Forbids that a superseded text is cited as current, however well it matches."""
    plant.write("seal-1", "---\nid: seal\nversion: '1'\neffective_date: 2024-01-01\n---\nOld pump seal steps")
    plant.write("seal", "---\nid: seal\nversion: '2'\neffective_date: 2026-01-01\n---\nPump seal steps")
    plant.write("tray", "---\nid: tray\nsupersedes: null\n---\nPump seal tray")
    plant.write("leak", "---\nid: leak\nsupersedes: tray\n---\nPump seal leak")
    plant.build()
    retriever = Retriever(plant.store.open(plant.alias() or ""), plant.embedder)

    hits = retriever.search(SearchRequest("old pump seal tray", "plant", ON, top_k=50))
    retriever.close()

    assert {hit.document.key for hit in hits} == {"seal@2", "leak@1", "belt@1"}


def test_tenants_never_see_each_other(plant: Plant, tmp_path: Path) -> None:
    """Forbids a leak in either direction between near-identical documents."""
    other = tmp_path / "other"
    other.mkdir()
    for name in ("seal", "belt"):
        (other / f"{name}.md").write_text(
            (plant.documents / f"{name}.md").read_text() + "\nSecret of the other.\n"
        )
    read_source(plant.database_url, other, "other-folder", "other")
    plant.build()
    retriever = Retriever(plant.store.open(plant.alias() or ""), plant.embedder)

    for tenant in ("plant", "other", "nobody"):
        for query in ("pump seal", "drive belt", "secret of the other", "steps"):
            hits = retriever.search(SearchRequest(query, tenant, ON, top_k=50))
            assert {hit.passage.tenant_id for hit in hits} <= {tenant}
            assert len(hits) == (0 if tenant == "nobody" else 2)
    retriever.close()


def test_no_query_fails_while_the_alias_moves(plant: Plant) -> None:
    """Forbids a failed question during a swap: 3 askers on the real engine while 4 builds are published."""
    plant.build()

    def read_alias() -> builds.IndexBuild | None:
        with psycopg.connect(plant.database_url) as connection:
            return builds.current_build(connection)

    def open_build(build: builds.IndexBuild, answering: Answering | None) -> Retriever:
        with psycopg.connect(plant.database_url, autocommit=True) as connection:
            return open_retriever(connection, plant.store, build, plant.embedder, answering)

    live = LiveIndex(read_alias, open_build)
    live.refresh()
    live.watch(seconds=0.05)
    stop, answered, failures = threading.Event(), [0], []

    def ask() -> None:
        while not stop.is_set():
            try:
                with live.lease() as (_, retriever):
                    hits = retriever.search(SearchRequest("pump seal", "plant", ON))
                assert hits[0].document.document_id == "seal"
                answered[0] += 1
            except Exception as error:
                failures.append(error)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    for number in range(4):
        plant.write("fan", f"# Fan\n\nEdition {number}.\n")
        published = plant.build().build_id
        deadline = time.monotonic() + 10
        while (current := live.current()) is None or current.build_id != published:
            assert time.monotonic() < deadline, "the live index did not follow the alias"
            time.sleep(0.02)
    stop.set()
    for asker in askers:
        asker.join()
    live.close()

    assert failures == []
    assert answered[0] > 20
