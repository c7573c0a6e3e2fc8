"""Bodies of pushed requests: what is none is told as such."""

from typing import Any

import pytest

from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.intake.requests import MalformedError, accept

CONTRACTS = load_contracts()


def _nothing(*_: Any) -> Any:
    raise AssertionError("neither sent nor asked of the database")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"topic": ["a"], "records": [{}]}', "`topic` is no text"),
        (b'{"topic": {"a": 1}, "records": [{}]}', "`topic` is no text"),
        (b'{"topic": "processed_alerts", "records": [{}]}', "written by this system alone"),
        (b'{"topic": "typo", "records": [{}]}', "no contract"),
        (b"[" * 100_000, "no JSON"),
        (b"\xff", "no JSON"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, said: str) -> None:
    """Forbids a server error for a hostile body, and records in a topic that no source writes to."""
    connection: Any = None
    with pytest.raises(MalformedError, match=said):
        accept(connection, _nothing, CONTRACTS, "t", "k", body)
