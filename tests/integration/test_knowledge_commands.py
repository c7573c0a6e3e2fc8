"""The verbs of the knowledge base at the terminal, over real Postgres and the real engine."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from word_embedder import WordEmbedder

from orchestration.cli import app
from orchestration.commands import knowledge

pytestmark = pytest.mark.integration


@pytest.fixture
def documents(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one document; the settings name the test's database, and the API is down."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("OPSGRAPH_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("OPSGRAPH_API_URL", "http://127.0.0.1:1")
    embedder = WordEmbedder()
    monkeypatch.setattr(knowledge, "configured_embedder", lambda _: embedder)
    folder = tmp_path / "documents"
    folder.mkdir()
    text = """# Pump seal

## Meaning

The pump seal leaks more than it may.

## Mitigation

1. Replace the pump seal.
"""
    (folder / "seal.md").write_text(text)
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_index_then_ask_then_roll_back(documents: Path) -> None:
    """Forbids verbs that work only while the API is up."""
    assert run("index", str(documents), "--tenant", "plant").exit_code == 0
    asked = run("ask", "what do I do when the pump seal leaks", "--tenant", "plant", "--json")
    answer = json.loads(asked.stdout)
    foreign = json.loads(run("ask", "pump seal leaks", "--tenant", "other", "--json").stdout)
    (documents / "belt.md").write_text("# Drive belt\n\nTension it.\n")
    assert "published" in run("index", str(documents), "--tenant", "plant").stdout

    assert answer["status"] == "answered"
    assert answer["next_steps"] == ["Replace the pump seal. [2]"]
    assert foreign["status"] == "refused"
    assert run("index-rollback").exit_code == 0


def test_a_broken_file_is_named_and_the_rest_is_indexed(documents: Path) -> None:
    """Forbids a silent gap in the index."""
    (documents / "bad.md").write_text("---\ntitle: [x\n---\ntext")
    result = run("index", str(documents), "--tenant", "plant")

    assert result.exit_code == 0
    assert "left out bad.md: front matter is not valid YAML" in result.stdout


def test_errors_are_sentences(documents: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids stack traces for what a user can put right."""
    assert "no index build has been published" in told("ask", "x", "--tenant", "plant")
    assert "is not a folder" in told("index", str(documents / "absent"), "--tenant", "plant")
    assert "no earlier verified build" in told("index-rollback")
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:1/opsgraph")
    assert "start it with `opsgraph up`" in told("index", str(documents), "--tenant", "plant")


def told(*arguments: str) -> str:
    """What a verb that fails says, without the terminal's line breaks."""
    result = run(*arguments)
    assert result.exit_code == 1
    return " ".join(result.output.split())
