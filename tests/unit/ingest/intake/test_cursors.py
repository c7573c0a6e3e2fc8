"""A cursor never passes a row that was not read, and can be stored."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from orchestration.ingest.contracts import ContractError
from orchestration.ingest.intake.cursors import CursorTrack
from orchestration.ingest.intake.pull import PullSource


def _track(begin: Any = None, *, is_ascending: bool = True) -> CursorTrack:
    return CursorTrack("source", "at", begin, is_ascending)


def _items(*values: Any) -> list[dict[str, Any]]:
    return [{"at": value} for value in values]


def test_the_cursor_stays_below_the_end_of_an_unfinished_page() -> None:
    """Forbids a cut between two rows of the same value that skips the second."""
    track = _track()

    assert track.after(_items(1, 2, 2), is_last=False) == 1
    assert track.after(_items(2, 2), is_last=False) == 1
    assert track.after(_items(3), is_last=True) == 3


def test_a_page_of_one_value_leaves_the_cursor() -> None:
    """Forbids a cursor at a value of which more rows follow."""
    assert _track(0).after(_items(1, 1), is_last=False) is None


def test_an_unordered_source_moves_its_cursor_at_the_end_alone() -> None:
    """Forbids an API that answers newest first to lose its older pages when a run is cut."""
    track = _track(is_ascending=False)

    assert track.after(_items(9, 8), is_last=False) is None
    assert track.after(_items(7), is_last=True) == 9


def test_a_source_that_must_ascend_and_does_not_is_refused_before_sending() -> None:
    """Forbids trusting a query without `order by`."""
    with pytest.raises(ContractError, match="falls from 3 to 2"):
        _track().after(_items(3, 2), is_last=False)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (Decimal("12"), 12),
        (Decimal("12.5"), "12.5"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
    ],
)
def test_what_databases_return_can_be_stored(value: Any, stored: Any) -> None:
    """Forbids a page that is sent and whose cursor can't be written."""
    found = _track().after(_items(value), is_last=True)

    assert found == stored
    assert Jsonb(found)


def test_other_types_are_refused_before_sending() -> None:
    """Forbids a page that is sent again by every run."""
    with pytest.raises(ContractError, match="bytes"):
        _track().after(_items(b"x"), is_last=True)
    with pytest.raises(ContractError, match="can't be compared"):
        _track().after(_items(1, "a"), is_last=True)


def test_the_cursor_never_moves_back() -> None:
    """Forbids a source that repeats old rows to set its cursor back."""
    assert _track(10).after(_items(3), is_last=True) == 10


@pytest.mark.parametrize(
    ("query", "first", "is_good"),
    [
        ("select * from t where id > :cursor", None, False),
        ("select * from t where id > :cursor", 0, True),
        ("select * from t where id > coalesce(:cursor, 0)", None, True),
        ("select * from t where (:cursor is null or id > :cursor)", None, True),
        ("select * from t where cast(:cursor as int) is null or id > :cursor", None, True),
    ],
)
def test_a_query_says_what_its_first_run_reads(query: str, first: Any, is_good: bool) -> None:
    """Forbids `id > NULL`, which gives no row on the first run and on every later one."""
    described = {
        "name": "n", "topic": "t", "kind": "database", "url": "sqlite://", "cursor_field": "id",
        "query": query, "first_cursor": first,
    }  # fmt: skip
    if is_good:
        assert PullSource.model_validate(described).first_cursor == first
    else:
        with pytest.raises(ValueError, match="first_cursor"):
            PullSource.model_validate(described)
