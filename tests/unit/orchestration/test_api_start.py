"""Starting the API while something that it needs is away."""

import logging
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from orchestration.api import app as application
from orchestration.environment import Environment
from rag_assets.copilot.keys import KeyStore


def test_an_embedder_that_fails_at_start_does_not_stop_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Forbids an API that answers from its first build for ever because an endpoint was away for a second."""
    asked = threading.Event()

    def embed_question(_: str) -> None:
        asked.set()
        raise ConnectionError("endpoint is away")

    watched: list[str] = []
    live = SimpleNamespace(watch=lambda: watched.append("build"))
    embedder: Any = SimpleNamespace(name="openai:m", embed_question=embed_question)
    monkeypatch.setattr("rag_assets.embedders.open_embedder", lambda *_: embedder)
    monkeypatch.setattr("rag_assets.index.stores.open_store", lambda *_: None)
    monkeypatch.setattr(
        "rag_assets.copilot.copilot.open_copilot", lambda *_, **__: SimpleNamespace(live=live)
    )
    caplog.set_level(logging.ERROR)

    application._open(Environment(OPSGRAPH_HOME=tmp_path))  # type: ignore[call-arg]
    assert asked.wait(5)
    for thread in threading.enumerate():
        if thread.name == "warm-up-embedder":
            thread.join(5)

    assert watched == ["build"]
    assert "openai:m is not ready" in caplog.text


def test_an_api_that_cannot_start_keeps_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids that a setting which fails late leaves the pools of what was opened before it."""
    closed: list[str] = []

    def fail(_: object) -> None:
        raise RuntimeError("no champions")

    copilot = SimpleNamespace(close=lambda: closed.append("copilot"))
    close_keys = KeyStore.close
    monkeypatch.setattr(KeyStore, "close", lambda self: (close_keys(self), closed.append("keys")))
    monkeypatch.setattr(application, "_open", lambda _: copilot)
    monkeypatch.setattr("orchestration.api.inference.Inference.open", fail)
    settings = Environment(OPSGRAPH_HOME=tmp_path, DATABASE_URL="postgresql://postgres@127.0.0.1:1/gone")  # type: ignore[call-arg]

    with pytest.raises(RuntimeError, match="no champions"), TestClient(application.create_app(settings)):
        pass
    assert closed == ["copilot", "keys"]
