"""What can still be read of a refused message."""

from datetime import UTC, datetime

import pytest

from orchestration.ingest.contracts import TopicContract, latest_schema, load_contracts
from orchestration.ingest.contracts.avro import encode_datum
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.contracts.wire import frame_prefix
from orchestration.ingest.dead_letter_view import hex_lines, partial_decode
from orchestration.ingest.postgres_sink import headers_from_json, headers_json

CONTRACTS = load_contracts()
STATUS = CONTRACTS["equipment-status"]
AT = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def message() -> bytes:
    """A valid status message."""
    pinned = latest_schema(STATUS.topic)
    record = {"tenant_id": "t", "equipment_id": "e", "event_at": AT, "status": "idle"}
    return frame_prefix(pinned.schema_id) + encode_datum(pinned.schema, record)


def _decode(payload: bytes, contract: TopicContract = STATUS) -> tuple[dict[str, object], str]:
    found = partial_decode(payload, contract, SchemaCatalog(CONTRACTS))
    return found.fields, found.note


def test_fields_before_the_fault_are_shown(message: bytes) -> None:
    """Forbids 'cannot be decoded' where four of six fields can be read."""
    fields, note = _decode(message[:-4])
    assert fields == {"tenant_id": "t", "equipment_id": "e", "event_at": AT}
    assert note.startswith("unreadable from field status (byte 17)")  # 5 prefix + 2 + 2 + 8


def test_whole_and_overlong_messages_say_so(message: bytes) -> None:
    """Forbids hiding the bytes that made landing refuse a message."""
    assert _decode(message)[1] == "every byte was read"
    assert _decode(message + b"xy")[1] == "2 bytes follow the last field"


def test_unframed_and_text_messages() -> None:
    """Forbids an error while an error is being shown."""
    assert "starts with byte 104" in _decode(b"hello")[1]
    fields, _ = _decode(b'{"level": "\xff"}', CONTRACTS["raw_logs"])
    assert fields == {"text": '{"level": "\\xff"}'}


def test_hex_stops_at_its_limit() -> None:
    """Forbids a terminal full of five mebibytes of hex."""
    lines = list(hex_lines(bytes(5 * 1024 * 1024), limit=32))
    assert len(lines) == 3
    assert lines[-1] == f"… {5 * 1024 * 1024 - 32} more bytes"


def test_headers_survive_the_database() -> None:
    """Forbids headers that lose bytes, null values, order or repetition on the way through JSON."""
    headers = [("a", b"\xff\x00"), ("a", None), ("b", b""), ("text", "é".encode())]
    import json

    assert headers_from_json(json.loads(headers_json(headers))) == headers
