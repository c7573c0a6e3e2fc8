"""Index builds on real Postgres and the real engine; the embedder is a fake, for speed."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from indexed_plant import Plant

from rag_assets.index import builds, corpus
from rag_assets.index.build import BuildStatus, EmptyCorpusError
from rag_assets.index.contract import IndexPoint
from rag_assets.index.edge import EdgeWriter
from rag_assets.index.refresh import read_source
from rag_assets.index.verification import Check

pytestmark = pytest.mark.integration

TESTS = Path(__file__).parents[1]


def test_a_verified_build_answers_and_an_unchanged_corpus_makes_none(plant: Plant) -> None:
    """Forbids a build that is not read back, and a rebuild for nothing."""
    first = plant.build()
    second = plant.build()

    assert first.status is BuildStatus.PUBLISHED
    assert [check.name for check in first.checks if not check.passed] == []
    assert (second.status, second.build_id) == (BuildStatus.UNCHANGED, first.build_id)
    assert plant.find("pump seal")[0] == "seal"


def test_only_what_changed_is_embedded_again(plant: Plant) -> None:
    """Forbids embedding a whole corpus for one new document."""
    plant.build()
    plant.embedder.embedded.clear()
    plant.write("fan", "# Cooling fan\n\nClean the filter mat.\n")
    outcome = plant.build()

    # One chunk, its title and its lead are new; the rest of what is embedded is the self-retrieval sample.
    assert outcome.embedded_count == 3
    assert plant.find("filter mat")[0] == "fan"


def test_a_small_change_is_written_into_a_copy_of_the_live_build(plant: Plant) -> None:
    """Forbids that one edited paragraph rewrites the index, and that the copy keeps what was edited away."""
    for number in range(8):
        plant.write(f"pump-{number}", f"# Pump {number}\n\n## Steps\n\n1. Grease coupling {number}.\n")
    first = plant.build()
    plant.write("seal", "# Pump seal\n\n## Steps\n\n1. Replace the gasket.\n")
    (plant.documents / "belt.md").unlink()
    second = plant.build()

    assert first.base_build_id is None
    assert second.base_build_id == first.build_id
    assert (second.written_count, second.chunk_count) == (1, 9)
    assert [check.name for check in second.checks if not check.passed] == []
    assert plant.find("gasket")[0] == "seal"
    assert "belt" not in plant.find("tension the drive belt")


def test_a_removed_document_is_gone_from_the_next_build(plant: Plant) -> None:
    """Forbids that a withdrawn runbook is found for ever."""
    plant.build()
    (plant.documents / "belt.md").unlink()
    plant.build()

    assert "belt" not in plant.find("tension the drive belt")


def test_a_broken_file_keeps_its_last_good_text(plant: Plant) -> None:
    """Forbids that a typing error in front matter removes a runbook from the index."""
    plant.build()
    plant.write("belt", "---\ntitle: [broken\n---\n# Drive belt\n")
    outcome = plant.build()

    assert outcome.status is BuildStatus.UNCHANGED
    assert "belt" in plant.find("tension the drive belt")


def test_an_empty_corpus_never_replaces_a_full_index(database_url: str, tmp_path: Path) -> None:
    """Forbids the green run over an empty index."""
    with pytest.raises(EmptyCorpusError, match="no document"):
        Plant(database_url, tmp_path).build()


def test_a_rejected_build_leaves_the_old_one_answering(plant: Plant) -> None:
    """Forbids that a build which fails its gate becomes visible, or stays on the disk."""
    good = plant.build()
    plant.write("fan", "# Fan\n\nText.\n")
    rejected = plant.build(gates=[lambda _: Check("gate", False, "worse than before")])

    assert rejected.status is BuildStatus.REJECTED
    assert plant.alias() == good.build_id
    assert not plant.store.exists(rejected.build_id)


def test_a_lying_store_is_found_out(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids trusting the writer: a store that loses a point fails count and hashes."""
    original = EdgeWriter.add

    def lose_one(self: EdgeWriter, points: Sequence[IndexPoint]) -> None:
        original(self, points[1:])

    monkeypatch.setattr(EdgeWriter, "add", lose_one)
    outcome = plant.build()

    failed = {check.name for check in outcome.checks if not check.passed}
    assert {"count_equals_corpus", "content_hashes_equal_corpus"} <= failed
    assert plant.alias() is None


def test_a_store_that_changes_what_is_cited_is_found_out(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids that only titles and texts are compared: a date that is lost makes an old document current."""
    original = EdgeWriter.add

    def lose_dates(self: EdgeWriter, points: Sequence[IndexPoint]) -> None:
        original(self, [replace(item, passage=replace(item.passage, effective_on=None)) for item in points])

    plant.write("fan", "---\nid: fan\neffective_date: 2026-01-01\n---\nClean the filter mat.\n")
    monkeypatch.setattr(EdgeWriter, "add", lose_dates)
    outcome = plant.build()

    assert "content_hashes_equal_corpus" in {check.name for check in outcome.checks if not check.passed}
    assert plant.alias() is None


def test_rollback_goes_back_and_forth(plant: Plant) -> None:
    """Forbids a rollback that needs a rebuild, or that ends nowhere."""
    first = plant.build()
    plant.write("fan", "# Fan\n\nText.\n")
    second = plant.build()
    with psycopg.connect(plant.database_url) as connection:
        assert builds.roll_back(connection).build_id == first.build_id
    assert "fan" not in plant.find("fan")
    with psycopg.connect(plant.database_url) as connection:
        assert builds.roll_back(connection).build_id == second.build_id


def test_a_rollback_holds_until_a_person_ends_it(plant: Plant) -> None:
    """Forbids that the next change of the data publishes what somebody has just taken back."""
    first = plant.build()
    plant.write("fan", "# Fan\n\nWrong.\n")
    second = plant.build(is_asked_for=False)
    assert plant.roll_back() == first.build_id
    held = plant.build(is_asked_for=False)
    assert (held.status, held.build_id, plant.alias()) == (BuildStatus.HELD, first.build_id, first.build_id)
    assert f"went back to it from {second.build_id}" in held.reason

    assert plant.roll_back() == second.build_id
    plant.write("fan", "# Fan\n\nRight.\n")
    third = plant.build(is_asked_for=False)
    assert (third.status, plant.alias()) == (BuildStatus.PUBLISHED, third.build_id)

    plant.roll_back()
    fourth = plant.build()
    assert (fourth.status, plant.alias()) == (BuildStatus.PUBLISHED, fourth.build_id)
    plant.roll_back()
    (plant.documents / "fan.md").write_text("# Fan\n\nWrong.\n")
    plant.write("belt", "# Drive belt\n\nNew.\n")
    assert plant.build(is_asked_for=False).status is BuildStatus.HELD


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_a_rollback_holds_against_a_builder_that_is_under_way(plant: Plant, is_asked_for: bool) -> None:
    """Forbids that a build which began before a person went back moves the alias forward after it."""
    first = plant.build()
    plant.write("fan", "# Fan\n\nWrong.\n")
    plant.build()
    plant.write("belt", "# Drive belt\n\nNew.\n")

    def go_back(_: object) -> Check:
        assert plant.roll_back() == first.build_id
        return Check("gate", True, "")

    outcome = plant.build(gates=[go_back], is_asked_for=is_asked_for)

    assert outcome.status is (BuildStatus.PUBLISHED if is_asked_for else BuildStatus.HELD)
    assert plant.alias() == outcome.build_id
    assert (outcome.build_id == first.build_id) is not is_asked_for
    folders = [path.name for path in plant.folder.iterdir() if path.is_dir()]
    assert len(folders) == (3 if is_asked_for else 2)


def test_indexing_the_corpus_of_the_older_build_ends_the_hold(plant: Plant) -> None:
    """Forbids a hold that lasts although a person has put the corpus right and indexed it."""
    first = plant.build()
    plant.write("fan", "# Fan\n\nWrong.\n")
    plant.build()
    plant.roll_back()
    (plant.documents / "fan.md").unlink()
    assert (plant.build().status, plant.alias()) == (BuildStatus.UNCHANGED, first.build_id)
    plant.write("fan", "# Fan\n\nRight.\n")

    assert plant.build(is_asked_for=False).status is BuildStatus.PUBLISHED


def test_nothing_to_roll_back_to_is_said(plant: Plant) -> None:
    """Forbids that a rollback without an earlier build leaves the alias on nothing."""
    only = plant.build()
    with psycopg.connect(plant.database_url) as connection, pytest.raises(builds.NoPreviousBuildError):
        builds.roll_back(connection)
    assert plant.alias() == only.build_id


def test_old_builds_are_removed_but_not_those_in_use(plant: Plant) -> None:
    """Forbids a disk that fills with builds, and a rollback into nothing."""
    made = []
    for number in range(5):
        plant.write("fan", f"# Fan\n\nEdition {number}.\n")
        made.append(plant.build().build_id)

    assert [plant.store.exists(build_id) for build_id in made] == [False, False, True, True, True]


def test_a_document_in_many_places_is_no_fault_of_the_store(plant: Plant) -> None:
    """Forbids that copies of a page stop every build: the sample looks at the first five of eight."""
    for number in range(8):
        plant.write(f"notice-{number}", "# Notice\n\nLock the drive before you open the hood.\n")
    outcome = plant.build()

    assert [check.detail for check in outcome.checks if not check.passed] == []


def test_a_corpus_that_changes_while_it_is_read_is_read_as_of_one_moment(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids a build on record as the corpus that it is not of: nobody would ever build it again.

    A source is gone for as long as the builder takes from listing documents to loading them.
    """
    listed = corpus.corpus_heads
    with psycopg.connect(plant.database_url, autocommit=True) as connection:

        def then_gone(*given: Any) -> Any:
            heads = listed(*given)
            connection.execute("delete from rag.documents where document_id = 'seal'")
            return heads

        monkeypatch.setattr("rag_assets.index.build.corpus_heads", then_gone)
        plant.build()
    monkeypatch.undo()
    plant.build()

    assert plant.find("pump seal")[0] == "seal"


@pytest.mark.parametrize("is_good", [True, False], ids=["retired", "rejected"])
def test_what_could_not_be_removed_is_removed_by_the_next_builder(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, is_good: bool
) -> None:
    """Forbids a build that nobody asks for any more on the disk for ever: its removal was interrupted."""
    for number in range(3):
        plant.write("fan", f"# Fan\n\nEdition {number}.\n")
        plant.build()
    before = {path.name for path in plant.folder.iterdir() if path.is_dir()}
    plant.write("fan", "# Fan\n\nEdition 4.\n")

    def fail(*_: object) -> None:
        raise OSError("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr(plant.store, "drop", lambda build_id: fail() if plant.store.exists(build_id) else None)
        with pytest.raises(OSError, match="the disk is away"):
            plant.build(gates=[lambda _: Check("gate", is_good, "")])
    plant.write("fan", "# Fan\n\nEdition 5.\n")
    plant.build()

    left = {path.name for path in plant.folder.iterdir() if path.is_dir()}
    assert len(left) == len(before) == 3
    assert plant.alias() in left


KILLED_BUILDER = """
import os, signal, sys
from pathlib import Path
from rag_assets.index.build import build_index
from rag_assets.index.edge import EdgeStore, EdgeWriter
from word_embedder import WordEmbedder

def die(self):
    os.kill(os.getpid(), signal.SIGKILL)

EdgeWriter.close = die
build_index(sys.argv[1], EdgeStore(Path(sys.argv[2])), WordEmbedder())
"""


def test_a_killed_builder_leaves_nothing_visible(plant: Plant, tmp_path: Path) -> None:
    """Forbids that half an index answers, or blocks the next builder."""
    good = plant.build()
    plant.write("fan", "# Fan\n\nText.\n")
    read_source(plant.database_url, plant.documents, "folder", "plant")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_BUILDER, plant.database_url, str(tmp_path / "index")],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        check=False,
    )

    assert killed.returncode == -signal.SIGKILL
    assert plant.alias() == good.build_id
    assert plant.find("pump seal")[0] == "seal"
    healed = plant.build()
    assert healed.status is BuildStatus.PUBLISHED
    assert "fan" in plant.find("fan")
    assert not list((tmp_path / "index").glob("*.partial"))
