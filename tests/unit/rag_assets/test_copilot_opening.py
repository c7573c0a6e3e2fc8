"""What a copilot opens: its pools, which nobody else closes, and builds with the rankers that serve."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from rag_assets.copilot.copilot import Copilot, open_copilot
from rag_assets.index.contract import BuildUnavailableError
from rag_assets.index.live import LiveIndex


class _Pool:
    """Stands for a pool; notes by name that it was closed."""

    def __init__(self, closed: list[str], name: str) -> None:
        self._closed = closed
        self._name = name

    def close(self) -> None:
        """Note it."""
        self._closed.append(self._name)


def _pool(closed: list[str], kind: str, *_: object, **__: object) -> _Pool:
    return _Pool(closed, kind)


def test_a_copilot_that_cannot_be_made_keeps_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids that what was opened before a failure stays open behind it."""
    closed: list[str] = []

    def fail(_: object) -> None:
        raise RuntimeError("no catalogue")

    for pool in ("ConnectionPool", "ReadOnlyDatabase"):
        of_its_kind = partial(_pool, closed, pool)
        monkeypatch.setattr(f"rag_assets.copilot.copilot.{pool}", of_its_kind)
    monkeypatch.setattr("rag_assets.copilot.copilot.MeasureCatalogue", fail)
    nothing: Any = None

    with pytest.raises(RuntimeError, match="no catalogue"):
        open_copilot("postgresql://", nothing, nothing)
    assert sorted(closed) == ["ConnectionPool", "ReadOnlyDatabase"]


def test_a_build_that_does_not_close_keeps_no_pool() -> None:
    """Forbids that an engine's failure at the end leaves the connections open."""
    closed: list[str] = []

    def fail() -> None:
        raise OSError("disk is full")

    live: Any = SimpleNamespace(close=fail)
    database: Any = _Pool(closed, "database")
    receipts: Any = _Pool(closed, "receipts")

    with pytest.raises(OSError, match="disk is full"):
        Copilot(live, database, receipts).close()
    assert sorted(closed) == ["database", "receipts"]


@dataclass
class _Retriever:
    """Notes which rankers it was told to order by."""

    name: str
    served: list[str] = field(default_factory=list)
    is_closed: bool = False

    def serve(self, rankers: str) -> None:
        """Note it."""
        self.served.append(rankers)

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


@dataclass
class _Plant:
    """What the database and the store hold, and what was opened."""

    alias: str = "a"
    version: str = "1"
    unreadable: set[str] = field(default_factory=set)
    opened: list[_Retriever] = field(default_factory=list)

    def live(self, monkeypatch: pytest.MonkeyPatch) -> LiveIndex:
        """The live index of a copilot over it."""
        embedder: Any = SimpleNamespace(name="words", dimension=64)
        store: Any = None
        for name, found in {
            "psycopg.connect": lambda *_, **__: nullcontext(),
            "ConnectionPool": partial(_pool, [], ""),
            "ReadOnlyDatabase": partial(_pool, [], ""),
            "current_build": lambda _: SimpleNamespace(build_id=self.alias, embedder="words", dimension=64),
            "open_retriever": self._open,
            "served_versions": lambda _: {"plant": self.version},
            "served_rankers": self._rankers,
        }.items():
            monkeypatch.setattr(f"rag_assets.copilot.copilot.{name}", found)
        return open_copilot("postgresql://", store, embedder).live

    def _open(self, _: object, __: object, build: Any, *___: object) -> _Retriever:
        if build.build_id in self.unreadable:
            raise BuildUnavailableError("gone")
        self.opened.append(_Retriever(build.build_id))
        return self.opened[-1]

    def _rankers(self, _: object) -> str:
        if self.version == "broken":
            raise ValueError("no ranker can be read")
        return f"rankers {self.version}"


def test_a_ranker_is_not_taken_for_served_by_a_build_that_did_not_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Forbids that a failed swap marks a promoted ranker as served: the build that stays never gets it."""
    plant = _Plant(unreadable={"b"})
    live = plant.live(monkeypatch)
    live.refresh()
    plant.alias, plant.version = "b", "2"
    with pytest.raises(BuildUnavailableError):
        live.refresh()
    plant.alias = "a"
    live.refresh()

    assert [(item.name, item.served) for item in plant.opened] == [("a", ["rankers 1", "rankers 2"])]


def test_a_build_whose_rankers_cannot_be_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a build that stays locked behind a failure: the next look could not open it."""
    plant = _Plant(version="broken")
    live = plant.live(monkeypatch)

    with pytest.raises(ValueError, match="no ranker"):
        live.refresh()
    assert [item.is_closed for item in plant.opened] == [True]
