"""Hostile log messages: refused or cleaned before anything that can't hold them sees them."""

import json
from datetime import UTC, datetime

import pytest

from orchestration.ingest.logs.lines import split_metrics
from orchestration.ingest.logs.messages import MOST_TENANT_CHARACTERS, read_messages

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)


def _line(**more: object) -> bytes:
    good = {"tenant_id": "t", "event_at": AT.isoformat(), "level": "INFO", "source": "s", "message": "m"}
    return json.dumps({**good, **more}).encode()


@pytest.mark.parametrize("beside", [b"not json", None], ids=["read one by one", "read at once"])
def test_a_number_beyond_all_doubles_is_no_response_time(beside: bytes | None) -> None:
    """Forbids one line that ends the reader, and a sum that leaves the range of Postgres."""
    huge = _line().replace(b'"level"', b'"response_time_ms": 1' + b"0" * 400 + b', "level"')
    others = [beside] if beside else []

    batch = read_messages([huge, _line(response_time_ms=1e308), _line(response_time_ms=3), *others], AT)

    assert batch.lines["response_time_ms"].to_list() == [None, None, 3.0]
    assert len(batch.refused) == len(others)


@pytest.mark.parametrize("tenant", ["a\0b", "a\x07b", "x" * (MOST_TENANT_CHARACTERS + 1)])
def test_a_tenant_that_postgres_has_no_place_for_is_refused(tenant: str) -> None:
    """Forbids a line that the database refuses for ever."""
    batch = read_messages([_line(tenant_id=tenant), _line()], AT)

    assert batch.lines["tenant_id"].to_list() == ["t"]
    assert [item.at for item in batch.refused] == [0]
    assert "tenant_id" in batch.refused[0].reason


def test_null_characters_in_other_fields_are_cleaned() -> None:
    """Forbids a null character in what becomes evidence of a signal."""
    hostile = _line(source="a\0b", trace_id="c\0d", metadata=json.dumps({"span_id": "e\0f"}))

    (row,) = read_messages([hostile], AT).lines.to_dicts()

    assert (row["source"], row["trace_id"], row["span_id"]) == ("a b", "c d", "e f")


def test_names_of_metrics_can_be_stored() -> None:
    """Forbids a null character in the name of a metric, which ends up in a signal's evidence."""
    text = '{"metrics": {"a\\u0000b": 1}}'
    _, points = split_metrics(read_messages([_line(metadata=text)], AT).lines)

    assert [point.metric for point in points] == ["a b"]
