"""Sources of one corpus beside each other, on real Postgres."""

from pathlib import Path

import psycopg
import pytest

from rag_assets.index.corpus import UPDATES, CorpusChange
from rag_assets.index.refresh import read_source
from rag_assets.sources.updates import apply_updates

pytestmark = pytest.mark.integration


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folders of one plant, each with a file of the same name."""
    found = [tmp_path / name for name in ("pumps", "belts")]
    for folder in found:
        folder.mkdir()
        (folder / "README.md").write_text(f"# {folder.name}")
    return found


def read(url: str, folder: Path) -> CorpusChange:
    return read_source(url, folder, folder.name, "plant")


def corpus(url: str) -> list[tuple[str, str]]:
    """Id and text of each document."""
    with psycopg.connect(url) as connection:
        return connection.execute("select document_id, content from rag.documents order by 1").fetchall()


def test_two_sources_with_one_id_keep_the_first_and_say_so(database_url: str, folders: list[Path]) -> None:
    """Forbids that the second replaces the first, that reading again flips it, or removing one loses it."""
    pumps, belts = folders
    read(database_url, pumps)

    second = read(database_url, belts)
    again = read(database_url, pumps)
    (belts / "README.md").unlink()
    removed = read(database_url, belts)

    assert (second.document_count, second.changed_count) == (0, 0)
    assert "README@1 are taken by source pumps" in second.broken[0].reason
    assert (again.changed_count, again.broken) == (0, ())
    assert removed.removed_count == 0
    assert corpus(database_url) == [("README", "# pumps")]


def test_an_update_stands_over_the_folder_until_it_is_withdrawn(
    database_url: str, folders: list[Path]
) -> None:
    """Forbids that the next look at a folder undoes what arrived on the topic."""
    pumps, _ = folders
    read(database_url, pumps)
    with psycopg.connect(database_url) as connection:
        apply_updates(connection, [("plant/README.md", b'{"content": "# corrected"}')])

    beside = read(database_url, pumps)
    corrected = corpus(database_url)
    with psycopg.connect(database_url) as connection:
        apply_updates(connection, [("plant/README.md", None)])
    read(database_url, pumps)

    assert UPDATES in beside.broken[0].reason
    assert corrected == [("README", "# corrected")]
    assert corpus(database_url) == [("README", "# pumps")]
