"""What a copilot opens, it closes: pools that are left to the garbage collector stop their own threads."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from rag_assets.copilot.copilot import Copilot, open_copilot


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
