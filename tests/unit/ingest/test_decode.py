"""The columnar decoders give what a decoder of single messages gives, message by message."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.ingest.avro_columns import AvroColumns, BadBytesError, ShiftedBoundaryError, is_supported
from orchestration.ingest.contracts import (
    ContractField,
    Direction,
    FieldRole,
    MessageFormat,
    PinnedSchema,
    TopicContract,
    ViolationMode,
)
from orchestration.ingest.contracts.avro import derive_schema
from orchestration.ingest.contracts.schema_catalog import UnknownSchemaIdError
from orchestration.ingest.contracts.wire import frame_prefix
from orchestration.ingest.decode import INDEX, AvroDecoder, Decoded
from orchestration.ingest.json_columns import JsonDecoder
from tests.unit.ingest.fetched import fetched


@pytest.fixture(scope="module", autouse=True)
def even_few_messages_as_columns() -> Iterator[None]:
    """Small batches take the slow path by themselves; these tests are about the fast one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.ingest.decode.FEW_MESSAGES", 0)
        yield


def field(name: str, kind: str, is_required: bool = False, **settings: Any) -> ContractField:
    """A field of the test contract."""
    return ContractField(name, kind, is_required, f"The {name}.", **settings)


CONTRACT = TopicContract(
    topic="readings",
    table="readings",
    format=MessageFormat.AVRO,
    direction=Direction.IN,
    partitions=1,
    message_key=("tenant_id",),
    version="1.0.0",
    on_violation=ViolationMode.FREEZE,
    on_unknown_field=ViolationMode.EVOLVE,
    fields=(
        field("tenant_id", "string", is_required=True),
        field("event_at", "timestamp-micros", is_required=True, role=FieldRole.EVENT_TIME),
        field("note", "string"),
        field("count", "int"),
        field("total", "long"),
        field("value", "double"),
        field("is_on", "boolean"),
        field("checked_at", "timestamp-micros"),
    ),
    description="Readings.",
    grain="one row per reading",
)
CURRENT = derive_schema(CONTRACT)
OLDER = {**CURRENT, "fields": [f for f in CURRENT["fields"] if f["name"] not in ("total", "is_on")]}
NEWER = {
    **CURRENT,
    "fields": [*CURRENT["fields"], {"name": "extra", "type": ["null", "string"], "default": None}],
}
WIDENED = {
    **CURRENT,
    "fields": [{**f, "type": ["null", "float"]} if f["name"] == "value" else f for f in CURRENT["fields"]],
}
SCHEMAS = {1: CURRENT, 2: OLDER, 3: NEWER, 4: WIDENED}


class Catalog:
    """Schemas of the test."""

    def schema_by_id(self, schema_id: int) -> PinnedSchema:
        """The schema under an id."""
        if schema_id not in SCHEMAS:
            raise UnknownSchemaIdError(f"schema id {schema_id}")
        return PinnedSchema(schema_id, CONTRACT.topic, schema_id, SCHEMAS[schema_id])


def avro_decoder(contract: TopicContract = CONTRACT) -> AvroDecoder:
    """A decoder over the test's schemas."""
    return AvroDecoder(contract, Catalog())  # type: ignore[arg-type]


def datum(schema: dict[str, Any], record: dict[str, Any]) -> bytes:
    """A datum written by fastavro."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), record)
    return buffer.getvalue()


def framed(schema_id: int, record: dict[str, Any]) -> bytes:
    """A message in the wire format."""
    return frame_prefix(schema_id) + datum(SCHEMAS[schema_id], record)


instants = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(
    lambda value: value.replace(tzinfo=UTC)
)
texts = st.text(max_size=200)
doubles = st.floats(allow_nan=False, width=32)  # exact in the schema that writes floats
records = st.fixed_dictionaries(
    {
        "tenant_id": texts,
        "event_at": instants,
        "note": st.none() | texts,
        "count": st.none() | st.integers(-(2**31), 2**31 - 1),
        "total": st.none() | st.integers(-(2**63), 2**63 - 1),
        "value": st.none() | doubles,
        "is_on": st.none() | st.booleans(),
        "checked_at": st.none() | instants,
        "extra": st.none() | texts,
    }
)
messages = st.lists(st.tuples(st.sampled_from(sorted(SCHEMAS)), records), min_size=1, max_size=30)


def expected(schema_id: int, record: dict[str, Any]) -> dict[str, Any]:
    """The row that the contract asks for: fields that the writer lacks are null, others are left out."""
    written = {item["name"] for item in SCHEMAS[schema_id]["fields"]}
    return {f.name: record[f.name] if f.name in written else None for f in CONTRACT.fields}


def rows(decoded: Decoded) -> dict[int, dict[str, Any]]:
    """Rows by position."""
    return {row.pop(INDEX): row for row in decoded.frame.to_dicts()}


@settings(max_examples=150, deadline=None)
@given(messages)
def test_avro_columns_equal_fastavro_message_by_message(batch: list[tuple[int, dict[str, Any]]]) -> None:
    """Forbids a columnar path that differs from fastavro for any type, null, size or mix of schemas."""
    decoded = avro_decoder().decode(fetched([framed(schema_id, record) for schema_id, record in batch]))
    assert decoded.refusals == []
    assert rows(decoded) == {i: expected(schema_id, record) for i, (schema_id, record) in enumerate(batch)}


@settings(max_examples=150, deadline=None)
@given(messages, st.data())
def test_damaged_messages_never_touch_their_neighbors(
    batch: list[tuple[int, dict[str, Any]]], data: Any
) -> None:
    """Forbids a cut or lengthened message whose bytes flow into the next one's row."""
    payloads = [framed(schema_id, record) for schema_id, record in batch]
    victim = data.draw(st.integers(0, len(batch) - 1))
    cut = data.draw(st.integers(5, len(payloads[victim]) - 1))
    damage: Callable[[bytes], bytes] = data.draw(
        st.sampled_from([lambda p: p[:cut], lambda p: p + p[cut:], lambda p: p + b"\x00"])
    )
    payloads[victim] = damage(payloads[victim])
    decoded = avro_decoder().decode(fetched(payloads))
    assert [refusal.index for refusal in decoded.refusals] == [victim]
    assert rows(decoded) == {
        i: expected(schema_id, record) for i, (schema_id, record) in enumerate(batch) if i != victim
    }


def test_bytes_that_move_between_neighbors_are_found() -> None:
    """Forbids accepting two messages whose boundary is shifted: together they decode without error."""
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "string"}]}
    whole = datum(schema, {"a": "left"}) + datum(schema, {"a": "right"})
    assert AvroColumns(schema).read(fetched([whole[:5], whole[5:]]))[0]["a"].to_list() == [
        "left",
        "right",
    ]
    with pytest.raises(ShiftedBoundaryError, match="datum 0 has 4 bytes, its values need 5"):
        AvroColumns(schema).read(fetched([whole[:4], whole[4:]]))


@pytest.mark.parametrize("byte", [0x01, 0x04, 0x08, 0x7F])
def test_a_byte_that_names_no_branch_is_refused(byte: int) -> None:
    """Forbids a damaged union whose value is taken all the same: polars reads all but 0 as the value."""
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": ["null", "double"]}]}
    good = datum(schema, {"a": 1.5})
    null = datum(schema, {"a": None})
    assert AvroColumns(schema).read(fetched([null, good]))[0]["a"].to_list() == [None, 1.5]
    with pytest.raises(BadBytesError, match="field a"):
        AvroColumns(schema).read(fetched([null, bytes([byte]) + good[1:], null]))


@pytest.mark.parametrize(
    ("kind", "number"),
    [("int", 2**33 + 2**30), ("int", 2**32), ("long", 2**66 + 2**62), ("long", 2**64 + 2**63 - 1)],
)
@pytest.mark.parametrize("is_optional", [False, True])
def test_numbers_with_more_bits_than_their_type_are_refused(
    kind: str, number: int, is_optional: bool
) -> None:
    """Forbids a number that is cut to its low bits and then has the size of its own bytes."""
    field_type: Any = ["null", kind] if is_optional else kind
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": field_type}]}
    encoded, rest = bytearray(), 2 * number  # zigzag
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    highest, lowest = 2 ** (31 if kind == "int" else 63) - 1, -(2 ** (31 if kind == "int" else 63))
    good = [datum(schema, {"a": highest}), datum(schema, {"a": lowest})]
    assert AvroColumns(schema).read(fetched(good))[0]["a"].to_list() == [highest, lowest]
    with pytest.raises((BadBytesError, ShiftedBoundaryError)):
        AvroColumns(schema).read(fetched([good[0], b"\x02" * is_optional + bytes(encoded)]))


@pytest.mark.parametrize("value", [946_684_800_000_000, 70_000, 2**62])
def test_a_last_number_that_was_cut_is_found(value: int) -> None:
    """Forbids a cut number at the end of a batch that is read as the smaller one of its first bytes."""
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "long"}]}
    whole = datum(schema, {"a": value})
    for cut in range(1, len(whole)):
        with pytest.raises(ShiftedBoundaryError):
            AvroColumns(schema).read(fetched([whole, whole[:cut]]))


@pytest.mark.parametrize(
    ("number", "size"),
    [
        (0, 1),
        (-64, 1),
        (63, 1),
        (64, 2),
        (-65, 2),
        (8191, 2),
        (8192, 3),
        (2**62, 10),
        (2**62 - 1, 9),
        (-(2**63), 10),
    ],
)
def test_size_of_a_long(number: int, size: int) -> None:
    """Forbids an off-by-one at the borders of zigzag varints: 7 bits per byte, one of them the sign."""
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "long"}]}
    written = datum(schema, {"a": number})
    assert len(written) == size
    assert AvroColumns(schema).read(fetched([written]))[0]["a"].to_list() == [number]


def test_schemas_beyond_the_columnar_path_are_read_one_by_one() -> None:
    """Forbids a schema with enums, arrays or maps that fails instead of taking the slow path."""
    fancy = {
        **CURRENT,
        "fields": [
            *CURRENT["fields"],
            {"name": "tags", "type": {"type": "array", "items": "string"}},
            {"name": "mode", "type": {"type": "enum", "name": "Mode", "symbols": ["A", "B"]}},
            {"name": "labels", "type": {"type": "map", "values": "long"}},
        ],
    }
    record = {"tenant_id": "t", "event_at": datetime(2026, 1, 5, tzinfo=UTC), "count": 7}
    SCHEMAS[9] = fancy
    try:
        payload = framed(9, {**record, "tags": ["x"], "mode": "B", "labels": {"k": 1}})
        decoded = avro_decoder().decode(fetched([payload]))
    finally:
        del SCHEMAS[9]
    assert not is_supported(fancy)
    assert decoded.refusals == []
    assert rows(decoded)[0]["count"] == 7


def test_an_incompatible_schema_is_refused_for_each_of_its_messages() -> None:
    """Forbids a writer's text that is cast to a number, or a null where there was a value."""
    changed = [{"name": "value", "type": "string"} if f["name"] == "value" else f for f in CURRENT["fields"]]
    SCHEMAS[8] = {**CURRENT, "fields": changed}
    record = {"tenant_id": "t", "event_at": datetime(2026, 1, 5, tzinfo=UTC), "value": "12"}
    try:
        decoded = avro_decoder().decode(fetched([framed(8, record), framed(1, {**record, "value": 12.0})]))
    finally:
        del SCHEMAS[8]
    assert [(item.index, item.error_class) for item in decoded.refusals] == [(0, "IncompatibleSchema")]
    assert rows(decoded)[1]["value"] == 12.0


@pytest.mark.parametrize(
    ("mode", "is_discarded"), [(ViolationMode.FREEZE, False), (ViolationMode.DISCARD_ROW, True)]
)
def test_unknown_fields_follow_the_contract(mode: ViolationMode, is_discarded: bool) -> None:
    """Forbids a contract that freezes its fields and still takes messages with others."""
    contract = replace(CONTRACT, on_unknown_field=mode)
    record = {"tenant_id": "t", "event_at": datetime(2026, 1, 5, tzinfo=UTC), "extra": "x"}
    decoded = avro_decoder(contract).decode(fetched([framed(3, record)]))
    assert [(item.error_class, item.is_discarded) for item in decoded.refusals] == [
        ("UnknownField", is_discarded)
    ]
    line = {"tenant_id": "t", "event_at": "2026-01-05T00:00:00Z", "extra": "x"}
    decoded = JsonDecoder(contract).decode(fetched([json.dumps(line).encode()]))
    assert [(item.error_class, item.is_discarded) for item in decoded.refusals] == [
        ("UnknownField", is_discarded)
    ]


json_values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | texts
    | st.just("2026-01-05T06:00:00Z")
)
json_records = st.dictionaries(st.sampled_from([f.name for f in CONTRACT.fields] + ["extra"]), json_values)
json_payloads = st.one_of(
    json_records.map(lambda record: json.dumps(record).encode()),
    json_records.map(
        lambda record: json.dumps(record, ensure_ascii=False, indent=1).encode("utf-8", "replace")
    ),
    records.map(lambda record: json.dumps(record, default=lambda value: value.isoformat()).encode()),
    st.binary(min_size=1, max_size=40),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(json_payloads, min_size=1, max_size=20))
def test_json_columns_equal_json_message_by_message(payloads: list[bytes]) -> None:
    """Forbids a JSON batch that reads a message differently than alone, or pairs it with its neighbor."""
    decoder = JsonDecoder(CONTRACT)
    together = decoder.decode(fetched(payloads))
    alone = [decoder.decode(fetched([payload])) for payload in payloads]
    assert rows(together) == {i: rows(item)[0] for i, item in enumerate(alone) if item.frame.height}
    assert [item.index for item in together.refusals] == [i for i, item in enumerate(alone) if item.refusals]
    assert together.frame.height + len(together.refusals) == len(payloads)


@settings(max_examples=300, deadline=None)
@given(json_payloads)
def test_json_columns_take_nothing_that_the_strict_reader_refuses(payload: bytes) -> None:
    """Forbids a value of another type that turns into null or text on the fast path."""
    decoder = JsonDecoder(CONTRACT)
    strict = decoder._one_by_one([payload], np.zeros(1, np.uint32))
    fast = decoder.decode(fetched([payload]))
    assert rows(fast) == rows(strict)
    assert [item.error_class for item in fast.refusals] == [item.error_class for item in strict.refusals]


def test_one_bad_message_leaves_the_batch_columnar() -> None:
    """Forbids one bad message in 20,000 that sends all of them to the slow path: 19 slices stay fast."""
    start = datetime(2026, 1, 5, tzinfo=UTC)
    payloads = [
        framed(1, {"tenant_id": "t", "event_at": start + timedelta(seconds=i)}) for i in range(20_000)
    ]
    payloads[12_345] = payloads[12_345][:-2]
    decoder = avro_decoder()
    slow: list[int] = []
    original = decoder._one_by_one

    def counting(writer: Any, schema_id: int, datums: Any, indices: Any) -> Decoded:
        slow.append(len(datums))
        return original(writer, schema_id, datums, indices)

    decoder._one_by_one = counting  # type: ignore[method-assign]
    decoded = decoder.decode(fetched(payloads))
    assert (decoded.frame.height, [item.index for item in decoded.refusals]) == (19_999, [12_345])
    assert slow == [1_000]
