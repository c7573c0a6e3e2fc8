"""Figures, citations, run events and connection failures as the terminal shows them."""

import json
from pathlib import Path

import httpx
import psycopg
import pytest

from orchestration.cli import _is_connection_failure
from orchestration.commands.dagster_runs import RunEvent, _first_lines, _run_event
from orchestration.commands.facts import citation_line
from orchestration.figures import Figure, write_figures


@pytest.mark.parametrize(
    ("better", "value", "peer", "ratio"),
    [
        ("higher", 300.0, 100.0, 3.0),  # three times the peer's rate
        ("lower", 5.0, 20.0, 4.0),  # a quarter of the peer's time
        ("higher", 300.0, None, None),
        ("lower", 0.0, 20.0, None),  # no ratio to nothing
    ],
)
def test_ratio_is_above_one_when_better(
    better: str, value: float, peer: float | None, ratio: float | None
) -> None:
    """Forbids a table in which a faster result shows a ratio below one."""
    assert Figure("x", value, "u", better, peer="naive", peer_value=peer).ratio == ratio  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("better", "bar", "value", "holds"),
    [
        ("higher", 10, 10, True),
        ("higher", 10, 9.9, False),
        ("lower", 10, 10.1, False),
        ("equal", 1, 0, False),
    ],
)
def test_bar_is_held_in_its_direction(better: str, bar: float, value: float, holds: bool) -> None:
    """Forbids a latency that passes because it is high."""
    assert Figure("x", value, "u", better, bar=bar).holds is holds  # type: ignore[arg-type]


def test_written_figures_have_the_promised_fields(tmp_path: Path) -> None:
    """Forbids a reader of the JSON finding a field missing."""
    path = write_figures(
        tmp_path / "bench" / "x.json", [Figure("x", 1.0, "s", "lower", command="make bench")]
    )
    (row,) = json.loads(path.read_text())
    assert set(row) == {"name", "value", "unit", "better", "bar", "peer", "peer_value", "ratio", "command"}


def test_failed_check_is_an_event_that_did_not_pass() -> None:
    """Forbids a demo that counts a failed check as passed."""
    raw = {
        "__typename": "AssetCheckEvaluationEvent",
        "timestamp": "2000",
        "evaluation": {"success": False, "checkName": "balances", "assetKey": {"path": ["raw", "x"]}},
    }
    assert _run_event(raw) == RunEvent("check", "raw/x", 2.0, False, "balances")


def test_failure_shows_the_innermost_message() -> None:
    """Forbids a wrapper's message hiding what went wrong."""
    raw = {
        "__typename": "ExecutionStepFailureEvent",
        "timestamp": "0",
        "stepKey": "model__failure_24h",
        "error": {"message": "step failed", "cause": {"message": "no training set"}},
    }
    event = _run_event(raw)
    assert event is not None
    assert event.message == "no training set"


def test_long_failures_are_cut_and_say_so() -> None:
    """Forbids a screen of stack trace, and a cut that nobody sees."""
    assert _first_lines("a\n\nb\nc", lines=2) == "a\nb\n…"
    assert _first_lines("a\nb", lines=2) == "a\nb"


def test_citation_names_its_place() -> None:
    """Forbids a citation without the section or instant that lets a reader check it."""
    document = {"number": 1, "title": "E101", "section": "Meaning", "version": "2.0"}
    assert citation_line(document) == "[1] E101 (Meaning, 2.0)"
    assert citation_line({"number": 2, "table": "marts.x", "as_of": "2015"}) == "[2] marts.x (2015)"


def test_only_a_lost_connection_is_one_sentence() -> None:
    """Forbids hiding a programming error behind 'a service does not answer'."""
    assert _is_connection_failure(psycopg.OperationalError("refused"))
    assert _is_connection_failure(httpx.ConnectError("refused"))
    wrapped = RuntimeError("landing")
    wrapped.__cause__ = ConnectionRefusedError()
    assert _is_connection_failure(wrapped)
    assert not _is_connection_failure(KeyError("x"))
