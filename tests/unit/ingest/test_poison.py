"""Messages that once made building a batch raise, and any that still might: each is refused alone."""

import io
import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import fastavro
import polars as pl
import psycopg
import pytest

from orchestration.ingest.batch import Batch, BatchBuilder
from orchestration.ingest.consume import Chunk
from orchestration.ingest.contracts import TopicContract, ViolationMode, latest_schema, load_contracts
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.contracts.wire import frame_prefix
from orchestration.ingest.decode import Decoded
from orchestration.ingest.kafka_records import Messages, Record
from orchestration.ingest.ledger import Counts
from orchestration.ingest.offsets import PartitionId
from orchestration.ingest.pii import PiiVault
from orchestration.ingest.poison import build_around_poison, build_small
from tests.unit.ingest.fetched import messages_of

CONTRACTS = load_contracts()
LANDED_AT = datetime(2026, 1, 5, 6, tzinfo=UTC)
READING = {"tenant_id": "t", "equipment_id": "e", "event_at": LANDED_AT}
INSPECTION = {
    **READING, "inspection_id": "I-1", "quality_class": "Reject", "product_code": "P-1",
    "inspected_count": 77, "defect_count": 0, "produced_count": 10,
}  # fmt: skip
LINE = {"tenant_id": "t", "event_at": "2026-01-05T06:00:00Z", "level": "INFO", "source": "s", "message": "m"}
VARINT_OF_77 = bytes([0x9A, 0x01])
VARINT_OF_2_TO_40 = bytes([0x80, 0x80, 0x80, 0x80, 0x80, 0x40])  # zigzag 2^41: 7 bits per byte, 6 bytes
MIDDLE = 2


def framed(topic: str, record: dict[str, Any]) -> bytes:
    """A message under the latest pinned schema; a long stands for an instant that datetime can't hold."""
    pinned = latest_schema(topic)
    plain: Any = json.loads(json.dumps(pinned.schema))
    for field in plain["fields"]:
        if field["name"] == "event_at" and isinstance(record["event_at"], int):
            field["type"] = "long"
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(plain), record)
    return frame_prefix(pinned.schema_id) + buffer.getvalue()


def line(**changes: Any) -> bytes:
    """A JSON message."""
    return json.dumps({**LINE, **changes}).encode()


def builder_of(contract: TopicContract) -> BatchBuilder:
    """A builder without a database: the contracts here have no personal fields."""
    return BatchBuilder(contract, SchemaCatalog(CONTRACTS), cast("PiiVault", None))


def chunk_of(topic: str, payloads: Sequence[bytes]) -> Chunk:
    """Payloads at offsets from 0."""
    messages = messages_of(payloads)
    return Chunk(PartitionId(topic, uuid.UUID(int=1), 0), 0, len(payloads), messages)


def build(builder: BatchBuilder, payloads: Sequence[bytes]) -> Batch:
    """What the pipeline does with a chunk."""
    batch, _ = build_around_poison(builder, chunk_of(builder.contract.topic, payloads), 1, LANDED_AT)
    return batch


def sensor_at(microseconds: int) -> bytes:
    """A reading whose event time is any number of microseconds since 1970."""
    return framed("equipment-sensors", {**READING, "event_at": microseconds})


GOOD = {
    "equipment-sensors": framed("equipment-sensors", READING),
    "quality-metrics": framed("quality-metrics", INSPECTION),
    "raw_logs": line(),
}
POISON = {
    "instant of the highest long but one bit": ("equipment-sensors", sensor_at(1 << 62), "EventTimeInFuture"),
    "instant of the lowest long but one bit": ("equipment-sensors", sensor_at(-(1 << 62)), "BelowMinimum"),
    "an instant of the year 10031": (
        "equipment-sensors", sensor_at(254_400_000_000_000_000), "EventTimeInFuture",
    ),
    "a count beyond 32 bits": (
        "quality-metrics",
        GOOD["quality-metrics"].replace(VARINT_OF_77, VARINT_OF_2_TO_40), "UndecodableDatum",
    ),
    "half of a surrogate pair": ("raw_logs", line(message="\ud800"), "WrongType"),
    "after year 9999 in UTC": ("raw_logs", line(event_at="9999-12-31T23:59:59-05:00"), "EventTimeInFuture"),
    "before year 1 in UTC": ("raw_logs", line(event_at="0001-01-01T00:00:00+05:00"), "BelowMinimum"),
}  # fmt: skip


@pytest.mark.parametrize("name", POISON)
def test_values_that_no_python_object_holds_are_refused_by_name(name: str) -> None:
    """Forbids a value that raises out of the builder: its topic would stop at it for ever."""
    topic, payload, error_class = POISON[name]
    payloads = [GOOD[topic]] * 40  # enough for the columnar path
    payloads[MIDDLE] = payload
    batch = build(builder_of(CONTRACTS[topic]), payloads)
    assert batch.counts == Counts(landed=39, dead_lettered=1)
    (letter,) = batch.dead_letters
    assert (letter.offset, letter.error_class, letter.payload) == (MIDDLE, error_class, payload)
    assert build(builder_of(CONTRACTS[topic]), [payload]).counts == Counts(dead_lettered=1)


def test_a_number_beyond_all_doubles_follows_its_fields_mode() -> None:
    """Forbids an integer of 400 digits that raises; the contract asks for null in place of bad values."""
    batch = build(builder_of(CONTRACTS["raw_logs"]), [line(response_time_ms=10**400)])
    assert batch.counts == Counts(landed=1, discarded_values=1)


class Fragile:
    """A decoder with a fault that nobody knows: it raises for payloads that hold a marker."""

    def __init__(self, builder: BatchBuilder, failure: BaseException) -> None:
        self._decoder, self._failure = builder._decoder, failure

    def decode(self, payloads: Sequence[bytes]) -> Decoded:
        """Decode, or raise."""
        if any(b"marker" in payload for payload in payloads):
            raise self._failure
        return self._decoder.decode(payloads)


def fragile_builder(contract: TopicContract, failure: BaseException) -> BatchBuilder:
    """A builder that fails for some messages."""
    builder = builder_of(contract)
    builder._decoder = Fragile(builder, failure)
    return builder


@pytest.mark.parametrize("failure", [KeyError("a fault"), pl.exceptions.PanicException("a fault")])
def test_a_fault_that_nobody_foresaw_costs_its_messages_alone(failure: BaseException) -> None:
    """Forbids an unknown fault of the lander that stops a topic; panics of polars are no `Exception`."""
    payloads = [line()] * 101
    payloads[0] = payloads[77] = line(message="marker")
    batch = build(fragile_builder(CONTRACTS["raw_logs"], failure), payloads)
    assert batch.counts == Counts(landed=99, dead_lettered=2)
    assert [item.offset for item in batch.dead_letters] == [0, 77]
    assert {item.error_class for item in batch.dead_letters} == {type(failure).__name__}
    assert "a fault" in batch.dead_letters[0].error_message


@pytest.mark.parametrize(
    "failure",
    [MemoryError(), KeyboardInterrupt(), SystemExit(1), psycopg.OperationalError("gone"), OSError()],
)
def test_a_failure_of_the_surroundings_refuses_no_message(failure: BaseException) -> None:
    """Forbids dead letters because memory, the database or the network were short."""
    with pytest.raises(type(failure)):
        build(fragile_builder(CONTRACTS["raw_logs"], failure), [line(message="marker")])


def test_a_failure_that_no_single_message_causes_is_raised() -> None:
    """Forbids a batch that is dropped or landed in part because its size alone is the fault."""
    builder = builder_of(CONTRACTS["raw_logs"])
    original = builder._decoder

    class TooMany:
        def decode(self, payloads: Sequence[bytes]) -> Decoded:
            if len(payloads) > 1:
                raise ValueError("too many")
            return original.decode(payloads)

    builder._decoder = TooMany()
    with pytest.raises(ValueError, match="too many"):
        build(builder, [line(), line()])


def test_reasons_hold_no_personal_value() -> None:
    """Forbids a technician's name in an error message, which no erasure reaches."""
    secret = "T-17-secret"
    contract = CONTRACTS["raw_logs"]
    fields = tuple(
        replace(item, is_pii=True, enum=("a",)) if item.name == "source" else item for item in contract.fields
    )
    personal = replace(contract, fields=fields)
    failing = fragile_builder(personal, ValueError(secret))
    failing._vault = None
    payloads = [line(source=secret), line(source=[secret]), line(source=secret + "marker")]
    batch = build(failing, payloads)
    assert [item.error_class for item in batch.dead_letters] == ["NotInEnum", "WrongType", "ValueError"]
    assert not [item.error_message for item in batch.dead_letters if secret in item.error_message]


def test_text_that_is_not_utf8_is_not_repeated() -> None:
    """Forbids the decoder's own message, whose representation holds the whole text."""
    payload = GOOD["quality-metrics"].replace(b"P-1", b"P\xff1")
    (letter,) = build(builder_of(CONTRACTS["quality-metrics"]), [payload]).dead_letters
    assert letter.error_class == "UndecodableDatum"
    assert "P\\xff1" not in letter.error_message


def test_names_of_unknown_fields_can_be_stored() -> None:
    """Forbids a reason that Postgres refuses: a field name may hold what UTF-8 lacks."""
    contract = replace(CONTRACTS["raw_logs"], on_unknown_field=ViolationMode.FREEZE)
    (letter,) = build(builder_of(contract), [line(**{"\ud800\x00": 1})]).dead_letters
    assert letter.error_message.endswith("does not name \\ud800\\0")


@pytest.mark.parametrize("topic", GOOD)
def test_a_payload_without_bytes_is_no_tombstone(topic: str) -> None:
    """Forbids a broken message that is dropped as a deletion: Kafka's tombstone is null."""
    records = [Record(0, b"k", None), Record(1, b"k", b"", [("x", b"y")]), Record(2, b"k", GOOD[topic])]
    chunk = Chunk(PartitionId(topic, uuid.UUID(int=1), 0), 0, 3, Messages.of(records))
    batch, _ = build_around_poison(builder_of(CONTRACTS[topic]), chunk, 1, LANDED_AT)
    assert batch.counts == Counts(landed=1, dead_lettered=1, tombstones=1)
    (letter,) = batch.dead_letters
    assert (letter.offset, letter.error_class, letter.payload) == (1, "EmptyPayload", b"")
    assert letter.headers == [("x", b"y")]


@pytest.mark.parametrize("topic", GOOD)
def test_small_chunks_built_together_are_what_they_are_alone(topic: str) -> None:
    """Forbids rows, refusals, counts or clocks that go to another partition's batch."""
    builder = builder_of(CONTRACTS[topic])
    good = [
        Record(number, b"k", GOOD[topic], [("known_at", f"2026-01-05T06:00:{number:02d}+00:00".encode())])
        for number in range(40)
    ]
    bad = Record(7, None, b"\x00broken", [("x", b"y")])
    late = Record(3, None, GOOD[topic], [("known_at", b"no instant")])
    groups = [
        good,
        [Record(2, None, None), *good[3:7], bad, *good[9:]],
        [],
        [*good[:3], late, *good[4:12], Record(12, b"", b"")],
    ]
    chunks = [
        Chunk(PartitionId(topic, uuid.UUID(int=1), number), 0, 50, Messages.of(records))
        for number, records in enumerate(groups)
    ]
    ids = [11, 12, 13, 14]
    together = build_small(builder, chunks, ids, LANDED_AT)
    alone = [build_around_poison(builder, chunk, i, LANDED_AT) for chunk, i in zip(chunks, ids, strict=True)]
    for (batch, _), (expected, _) in zip(together, alone, strict=True):
        assert batch.rows.to_pylist() == expected.rows.to_pylist()
        assert replace(batch, rows=expected.rows) == expected
    assert [batch.counts.landed for batch, _ in together] == [40, 35, 0, 11]
    assert [batch.counts.dead_lettered for batch, _ in together] == [0, 1, 0, 2]
    assert [bool(stream.columns) for _, stream in together] == [True, False, False, False]
