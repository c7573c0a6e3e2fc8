"""The wire format and the JSON form of messages."""

import doctest
import json
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest

from orchestration.ingest.contracts import ContractError, avro_writer, ddl, load_contracts, wire
from orchestration.ingest.contracts.json_message import encode_json
from orchestration.ingest.contracts.wire import frame_prefix, unframe

LOGS = load_contracts()["raw_logs"]
LINE: dict[str, Any] = {
    "tenant_id": "demo-plant",
    "event_at": datetime(2026, 1, 5, 6, 0, 0, 1, tzinfo=UTC),
    "level": "ERROR",
    "source": "mes-gateway",
    "message": "x",
}


def test_the_prefix_is_zero_and_the_id_big_endian() -> None:
    """Forbids a byte order that only this project can read."""
    assert frame_prefix(0x01020304) == b"\x00\x01\x02\x03\x04"
    assert unframe(b"\x00\x01\x02\x03\x04datum") == (0x01020304, b"datum")


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "0 bytes is shorter"),
        (b"\x00\x00\x00\x00", "4 bytes is shorter"),
        (b"{}{}{}", "starts with byte 123"),
    ],
)
def test_a_payload_in_another_format_is_refused(payload: bytes, message: str) -> None:
    """Forbids reading JSON, or half a prefix, as schema id and datum."""
    with pytest.raises(ContractError, match=message):
        unframe(payload)


def test_absent_values_stay_out_of_the_object() -> None:
    """Forbids `null` where the line had nothing to say, and a lost microsecond."""
    assert json.loads(encode_json(LOGS, {**LINE, "trace_id": None})) == {
        **LINE,
        "event_at": "2026-01-05T06:00:00.000001Z",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": None}, "'level' is required and missing"),
        ({"levle": "ERROR"}, "record names levle"),
        ({"message": b"x"}, "'message': b'x' is no string"),
        ({"message": "\ud800"}, "cannot be written as JSON"),
        ({"response_time_ms": float("nan")}, "cannot be written as JSON"),
        ({"response_time_ms": True}, "'response_time_ms': True is no double"),
        ({"event_at": datetime(2026, 1, 5)}, "is no timestamp-micros"),
        ({"is_anomaly": 1}, "'is_anomaly': 1 is no boolean"),
    ],
)
def test_a_value_that_json_or_the_contract_lacks_is_refused(change: dict[str, Any], message: str) -> None:
    """Forbids NaN in JSON (no other reader takes it) and values of another type."""
    with pytest.raises(ContractError, match=message):
        encode_json(LOGS, {**LINE, **change})


@pytest.mark.parametrize("module", [wire, ddl, avro_writer])
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    """Forbids an example that the code has moved away from."""
    result = doctest.testmod(module)

    assert result.attempted > 0
    assert result.failed == 0
