"""The fast path gives what fastavro gives, message by message, on generated schemas and data."""

import io
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.ingest.avro_columns import AvroColumns
from orchestration.ingest.avro_layouts import AvroField, AvroLayouts, UnfitError
from orchestration.ingest.contracts import (
    ContractField,
    Direction,
    FieldRole,
    MessageFormat,
    PinnedSchema,
    TopicContract,
    ViolationMode,
)
from orchestration.ingest.contracts.wire import frame_prefix
from orchestration.ingest.decode import INDEX, AvroDecoder
from tests.unit.ingest.fetched import fetched

INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))
MILLIS = INSTANTS.map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000))
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=70) | st.sampled_from(
    ["CNC-A-101", "PRS-B-201", "", "ä" * 40]
)
ENUM = {"type": "enum", "name": "e", "symbols": ["A", "B"]}
KEYS = st.text(max_size=4)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def of(base: str, logical: str) -> dict[str, str]:
    """A type with a logical type that the contract's column does not ask for."""
    return {"type": base, "logicalType": logical}


KINDS: dict[str, tuple[list[tuple[Any, st.SearchStrategy[Any]]], str]] = {
    "text": (
        [
            ("string", TEXTS), (ENUM, st.sampled_from("AB")),
            (of("string", "uuid"), st.uuids()), (of("string", "of-our-own"), TEXTS),
        ],
        "string",
    ),
    "flag": ([("boolean", st.booleans())], "boolean"),
    "count": (
        [
            ("int", st.integers(-(2**31), 2**31 - 1)), (of("int", "date"), st.dates()),
            (of("int", "time-millis"), st.times().map(lambda t: t.replace(microsecond=7_000))),
        ],
        "int",
    ),
    "total": (
        [
            ("long", st.integers(-(2**63), 2**63 - 1)), ("int", st.integers(-5, 5)),
            (of("long", "timestamp-micros"), INSTANTS), (of("long", "time-micros"), st.times()),
            (of("long", "local-timestamp-micros"), st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))),
        ],
        "long",
    ),
    "value": (
        [
            ("double", st.floats(allow_nan=False)), ("float", st.floats(width=32, allow_nan=False)),
            ("long", st.integers(-(2**53), 2**53)), ("int", st.integers(-9, 9)),
        ],
        "double",
    ),
    "event_at": (
        [
            ({"type": "long", "logicalType": "timestamp-micros"}, INSTANTS),
            ({"type": "long", "logicalType": "timestamp-millis"}, MILLIS),
        ],
        "timestamp-micros",
    ),
}  # fmt: skip
UNNAMED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ({"type": "array", "items": "long"}, st.lists(st.integers(-300, 300), max_size=3)),
    ({"type": "map", "values": "string"}, st.dictionaries(KEYS, KEYS, max_size=2)),
    ("bytes", st.binary(max_size=6)),
    ({**of("bytes", "decimal"), "precision": 4, "scale": 2}, st.sampled_from([Decimal("1.25"), Decimal(-3)])),
    ({"type": "array", "items": of("string", "uuid")}, st.lists(st.uuids(), max_size=2)),
    ({"type": "fixed", "name": "f4", "size": 4}, st.binary(min_size=4, max_size=4)),
    ({"type": "record", "name": "inner", "fields": [{"name": "x", "type": "int"}]}, st.just({"x": 7})),
]  # fmt: skip
CONTRACT = TopicContract(
    topic="readings", table="readings", format=MessageFormat.AVRO, direction=Direction.IN, partitions=1,
    message_key=("text",), version="1.0.0", on_violation=ViolationMode.FREEZE,
    on_unknown_field=ViolationMode.EVOLVE, description="Readings.", grain="One reading.",
    fields=tuple(
        ContractField(name, kind, False, name)
        if name != "event_at"
        else ContractField(name, kind, False, name, role=FieldRole.EVENT_TIME)
        for name, (_, kind) in KINDS.items()
    ),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def even_few_messages_as_columns() -> Iterator[None]:
    """Small batches take the slow path by themselves; these tests are about the fast one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.ingest.decode.FEW_MESSAGES", 0)
        patch.setattr("orchestration.ingest.avro_layouts.ROWS_PER_LAYOUT", 1)
        yield


@st.composite
def writer(draw: st.DrawFn, number: int) -> tuple[dict[str, Any], st.SearchStrategy[dict[str, Any]]]:
    """A writer schema with some of the contract's fields and some that it does not name, and its records."""
    fields: list[dict[str, Any]] = []
    values: dict[str, st.SearchStrategy[Any]] = {}
    for name in draw(st.permutations(list(KINDS))):
        if name == "event_at" or draw(st.booleans()):
            kind, strategy = draw(st.sampled_from(KINDS[name][0]))
            is_optional = draw(st.booleans())
            fields.append({"name": name, "type": ["null", kind] if is_optional else kind})
            values[name] = st.none() | strategy if is_optional else strategy
    for place in range(draw(st.integers(0, 1))):
        kind, strategy = draw(st.sampled_from(UNNAMED))
        fields.insert(draw(st.integers(0, len(fields))), {"name": f"other_{place}", "type": kind})
        values[f"other_{place}"] = strategy
    schema = {"type": "record", "name": f"reading_{number}", "fields": fields}
    return schema, st.fixed_dictionaries(values)


@st.composite
def messages(draw: st.DrawFn) -> tuple[dict[int, dict[str, Any]], list[tuple[int, dict[str, Any]]]]:
    """Messages of one range: two writer schemas, as they change while a range is read."""
    writers = {101: draw(writer(101)), 102: draw(writer(102))}
    records = draw(
        st.lists(
            st.sampled_from(sorted(writers)).flatmap(lambda i: st.tuples(st.just(i), writers[i][1])),
            min_size=1, max_size=12,
        )
    )  # fmt: skip
    return {number: schema for number, (schema, _) in writers.items()}, records


class Catalog:
    """The generated writer schemas by id."""

    def __init__(self, schemas: dict[int, dict[str, Any]]) -> None:
        self._schemas = schemas

    def schema_by_id(self, schema_id: int) -> PinnedSchema:
        """Schema of an id."""
        return PinnedSchema(schema_id, "readings", 1, self._schemas[schema_id])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(messages())
def test_each_row_is_what_fastavro_reads(
    generated: tuple[dict[int, dict[str, Any]], list[tuple[int, dict[str, Any]]]],
) -> None:
    """Forbids a decoder that is fast and wrong: for evolved schemas, nulls, logical types, enums, maps."""
    schemas, records = generated
    payloads, expected = [], []
    for schema_id, record in records:
        buffer = io.BytesIO()
        parsed = fastavro.parse_schema(schemas[schema_id], _force=True)
        fastavro.schemaless_writer(buffer, parsed, record)
        payloads.append(frame_prefix(schema_id) + buffer.getvalue())
        buffer.seek(0)
        read: Any = fastavro.schemaless_reader(buffer, parsed, None)
        expected.append({name: _in_column(name, read.get(name)) for name in KINDS})

    decoded = AvroDecoder(CONTRACT, Catalog(schemas)).decode(fetched(payloads))  # type: ignore[arg-type]

    assert decoded.refusals == []
    frame = decoded.frame.sort(INDEX)  # messages of one layout stand together
    assert frame[INDEX].to_list() == list(range(len(records)))
    assert frame.select(list(KINDS)).to_dicts() == expected


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_layouts_read_what_fastavro_reads_or_nothing(data: st.DataObject) -> None:
    """Forbids strided columns that accept damaged bytes as another value than they say."""
    schema = {
        "type": "record", "name": "r",
        "fields": [
            {"name": "a", "type": ["null", "string"]}, {"name": "b", "type": "long"},
            {"name": "c", "type": ["null", "double"]}, {"name": "d", "type": "boolean"},
        ],
    }  # fmt: skip
    parsed = fastavro.parse_schema(schema)
    record = st.fixed_dictionaries(
        {
            "a": st.none() | st.sampled_from(["x", "yz", "ä"]), "b": st.integers(-(2**63), 2**63 - 1),
            "c": st.none() | st.floats(allow_nan=False), "d": st.booleans(),
        }
    )  # fmt: skip
    datums: list[bytes] = []
    for value in data.draw(st.lists(record, min_size=1, max_size=8)):
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, parsed, value)
        datums.append(buffer.getvalue())
    if data.draw(st.booleans()):  # one byte of one datum is another one
        place = data.draw(st.integers(0, len(datums) - 1))
        at = data.draw(st.integers(0, len(datums[place]) - 1))
        byte = bytes([data.draw(st.integers(0, 255))])
        datums[place] = datums[place][:at] + byte + datums[place][at + 1 :]
    layouts = AvroLayouts(
        [
            AvroField("a", "string", True), AvroField("b", "long", False),
            AvroField("c", "double", True), AvroField("d", "boolean", False),
        ]
    )  # fmt: skip
    try:
        found = layouts.read(fetched(datums))
    except UnfitError:
        return
    places = range(len(datums)) if found.rows is None else found.rows.tolist()
    assert sorted(places) == list(range(len(datums)))
    for row, place in enumerate(places):
        buffer = io.BytesIO(datums[place])
        read: Any = fastavro.schemaless_reader(buffer, parsed, None)
        assert buffer.read() == b"", "a datum was taken that is longer than its values"
        # As text: a changed byte can make a number NaN, which equals nothing.
        assert {name: str(series[row]) for name, series in found.columns.items()} == {
            name: str(value) for name, value in read.items()
        }


def _in_column(name: str, value: Any) -> Any:
    if value is None:
        return None
    match value:
        case UUID():
            return str(value)
        case datetime() if name == "total":
            return (value.replace(tzinfo=UTC) - EPOCH) // MICROSECOND  # a local one has no zone
        case time():
            since = datetime.combine(EPOCH.date(), value, UTC) - EPOCH
            return since // (MICROSECOND if name == "total" else 1_000 * MICROSECOND)
        case date() if name == "count":
            return (value - EPOCH.date()).days
        case _:
            return float(value) if name == "value" else value


def test_an_instant_is_kept_to_the_microsecond() -> None:
    """Forbids the three steps that close a number's seventh bits from losing one."""
    schema = {"type": "record", "name": "r", "fields": [{"name": "n", "type": "long"}]}
    numbers = [s * (1 << shift) + d for shift in range(55) for s in (1, -1) for d in (-1, 0, 1)]
    parsed = fastavro.parse_schema(schema)
    for number in numbers:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, parsed, {"n": number})
        assert AvroColumns(schema).read(fetched([buffer.getvalue()]))[0]["n"].to_list() == [number]
