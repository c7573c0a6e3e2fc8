"""What the verbs of index and copilot say when something does not fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from orchestration.cli import app
from orchestration.commands import copilot, knowledge
from rag_assets.copilot.client import ApiError
from rag_assets.index.corpus import CorpusChange
from rag_assets.remote_embedding import DimensionMismatchError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, and no API."""
    monkeypatch.setenv("OPSGRAPH_HOME", str(tmp_path))
    monkeypatch.setenv("OPSGRAPH_API_URL", "http://127.0.0.1:1")


@contextmanager
def no_connection(*_: object) -> Iterator[None]:
    """In place of a database connection."""
    yield None


def test_an_embedder_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a stack trace over a misspelt setting."""
    monkeypatch.setenv("OPSGRAPH_EMBEDDER", "word2vec")

    found = run("ask", "What does E101 mean?", "--tenant", "plant")

    assert found.exit_code == 1
    assert "embedder 'word2vec' is unknown" in " ".join(found.stderr.split())


def test_vectors_of_another_length_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a stack trace over an endpoint whose model was changed."""

    def refuse(*_: object, **__: object) -> None:
        raise DimensionMismatchError("m gives vectors of 2 numbers")

    monkeypatch.setattr("rag_assets.index.refresh.refresh_index", refuse)
    change = CorpusChange("plant:folder", 0, 0, 0, {}, ())
    monkeypatch.setattr("rag_assets.index.refresh.store_files", lambda *_: change)

    found = run("index", str(tmp_path), "--tenant", "plant")

    assert found.exit_code == 1
    assert "m gives vectors of 2 numbers" in found.stderr


def test_an_api_that_wants_a_key_is_told_by_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a stack trace where the API refuses."""

    def refuse(*_: object) -> None:
        raise ApiError("http://api answered 401: this API wants a key")

    monkeypatch.setattr("psycopg.connect", no_connection)
    monkeypatch.setattr(copilot, "connected_copilot", refuse)
    monkeypatch.setattr(
        "rag_assets.copilot.tools.database.ReadOnlyDatabase", lambda _: SimpleNamespace(close=lambda: None)
    )

    found = run("answer", "audit")

    assert found.exit_code == 1
    assert "wants a key" in found.stderr


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a stack trace over a mistyped path."""
    monkeypatch.setattr("psycopg.connect", no_connection)
    overall = SimpleNamespace(useful_ratio=None, useful_count=0, judged_count=0)
    monkeypatch.setattr("rag_assets.copilot.feedback.satisfaction", lambda *_: overall)
    monkeypatch.setattr("rag_assets.copilot.feedback.judged_questions", lambda *_: [])

    found = run("answer", "feedback", "--out", str(tmp_path / "absent" / "x"))

    assert found.exit_code == 1
    assert "can't be written: No such file or directory" in " ".join(found.stderr.split())


def test_the_settings_of_the_model_reach_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a client that waits 30 s whatever the settings say."""
    monkeypatch.setenv("OPSGRAPH_LLM_TIMEOUT_S", "120")
    monkeypatch.setattr("rag_assets.copilot.client.api_answers", lambda _: True)

    found = knowledge.connected_copilot(knowledge.Environment())

    assert found._client.timeout.read == 150.0  # type: ignore[attr-defined]
