"""Avro of the contracts: what is read is what was written, byte for byte as the specification says."""

import io
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.ingest.contracts import (
    ContractError,
    ContractField,
    MessageFormat,
    TopicContract,
    arrow_schema,
    load_contracts,
)
from orchestration.ingest.contracts.avro import (
    decode_datum,
    derive_schema,
    encode_datum,
    unreadable_changes,
)

CONTRACTS = load_contracts()
AVRO_CONTRACTS = [contract for contract in CONTRACTS.values() if contract.format is MessageFormat.AVRO]
SENSORS = CONTRACTS["equipment-sensors"]
LIMITS = {"int": 2**31, "long": 2**63}
READING: dict[str, Any] = {
    "tenant_id": "demo-plant",
    "equipment_id": "CNC-A-101",
    "event_at": datetime(2026, 1, 5, 6, tzinfo=UTC),
    "temperature_c": 61.25,
}


def valid_values(field: ContractField) -> st.SearchStrategy[Any]:
    """Values that a contract allows in a field."""
    low, high = field.minimum, field.maximum
    if field.enum:
        values: st.SearchStrategy[Any] = st.sampled_from(field.enum)
    elif field.physical_type == "timestamp-micros":
        values = st.datetimes(
            min_value=low.replace(tzinfo=None) if isinstance(low, datetime) else datetime(1, 1, 2),
            max_value=high.replace(tzinfo=None) if isinstance(high, datetime) else datetime(9999, 12, 30),
            timezones=st.just(UTC),
        )
    elif field.physical_type == "double":
        values = st.floats(min_value=low, max_value=high, allow_nan=False, allow_infinity=False)
    elif field.physical_type == "boolean":
        values = st.booleans()
    elif field.physical_type == "string":
        values = st.text(st.characters(exclude_categories=["Cs"]))
    else:
        bound = LIMITS[field.physical_type]
        values = st.integers(
            min_value=-bound if low is None else int(low), max_value=bound - 1 if high is None else int(high)
        )
    return values if field.is_required else st.none() | values


def valid_records(contract: TopicContract) -> st.SearchStrategy[dict[str, Any]]:
    """Records that a contract allows; optional fields may be absent."""
    required = {f.name: valid_values(f) for f in contract.fields if f.is_required}
    optional = {f.name: valid_values(f) for f in contract.fields if not f.is_required}
    return st.fixed_dictionaries(required, optional=optional)


@pytest.mark.parametrize("contract", AVRO_CONTRACTS, ids=lambda contract: contract.topic)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_valid_record_survives(contract: TopicContract, data: st.DataObject) -> None:
    """Forbids a value that a contract allows and the wire loses, shifts or rounds.

    The bytes are compared with fastavro's, a second implementation of the same specification.
    """
    record = data.draw(valid_records(contract))
    schema = derive_schema(contract)

    datum = encode_datum(schema, record)

    whole = {field.name: record.get(field.name) for field in contract.fields}
    assert decode_datum(schema, datum) == whole
    reference = io.BytesIO()
    fastavro.schemaless_writer(reference, schema, whole)
    assert datum == reference.getvalue()


@pytest.mark.parametrize("whole", [-(2**31), -65, -64, -1, 0, 63, 64, 2**31 - 1])
def test_integers_at_the_edges_of_their_bytes(whole: int) -> None:
    """Forbids a zigzag that is off at a byte's edge; the range of the contracts never reaches these."""
    schema = {"type": "record", "name": "edge", "fields": [{"name": "n", "type": "int"}]}
    reference = io.BytesIO()
    fastavro.schemaless_writer(reference, schema, {"n": whole})

    assert encode_datum(schema, {"n": whole}) == reference.getvalue()


def test_optional_fields_are_unions_with_null_first() -> None:
    """Forbids a union order in which the default null is not valid Avro."""
    fields = {field["name"]: field for field in derive_schema(SENSORS)["fields"]}

    assert fields["temperature_c"] == {"name": "temperature_c", "type": ["null", "double"], "default": None}
    assert fields["event_at"] == {
        "name": "event_at",
        "type": {"type": "long", "logicalType": "timestamp-micros"},
    }


def test_an_instant_of_another_zone_is_the_same_instant() -> None:
    """Forbids writing the wall time of a zone as if it were UTC."""
    berlin = timezone(timedelta(hours=1))
    moved = {**READING, "event_at": datetime(2026, 1, 5, 7, tzinfo=berlin)}

    assert encode_datum(derive_schema(SENSORS), moved) == encode_datum(derive_schema(SENSORS), READING)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tenant_id": None}, "field 'tenant_id': is required and missing"),
        ({"tenant_id": 7}, "field 'tenant_id': 7 .int. cannot be written"),
        ({"tenant_id": "\ud800"}, "field 'tenant_id': .*surrogates not allowed"),
        ({"temperature_c": "61"}, "field 'temperature_c': '61' .str. cannot be written"),
        ({"temperature_c": True}, "field 'temperature_c': True .bool. cannot be written"),
        ({"temperature_c": 10**400}, "field 'temperature_c'"),
        ({"event_at": datetime(2026, 1, 5, 6)}, "field 'event_at': .* names no time zone"),
        ({"event_at": "2026-01-05"}, "field 'event_at': '2026-01-05' .str. cannot be written"),
        ({"temperatur_c": 61.0}, "field temperatur_c is not in the contract"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_field(change: dict[str, Any], message: str) -> None:
    """Forbids a record that is written wrongly, or dropped in part, without a word."""
    with pytest.raises(ContractError, match=message):
        encode_datum(derive_schema(SENSORS), {**READING, **change})


@pytest.mark.parametrize(
    ("value", "message"), [(2**31, "does not fit 32 bits"), (True, "not a whole number")]
)
def test_counts_are_whole_and_fit(value: object, message: str) -> None:
    """Forbids an overflow that a reader would take for a negative count."""
    contract = CONTRACTS["quality-metrics"]
    record = {
        "tenant_id": "demo-plant", "inspection_id": "i-1", "equipment_id": "PRS-B-201",
        "event_at": READING["event_at"], "quality_class": "Reject", "product_code": "P-7",
        "inspected_count": 20, "defect_count": value, "produced_count": 200,
    }  # fmt: skip

    with pytest.raises(ContractError, match=f"field 'defect_count': .*{message}"):
        encode_datum(derive_schema(contract), record)


@pytest.mark.parametrize("cut", [1, 8, 30])
def test_a_truncated_or_longer_datum_is_refused(cut: int) -> None:
    """Forbids reading half a message, or a shifted one, as if it were whole."""
    schema = derive_schema(SENSORS)
    datum = encode_datum(schema, READING)

    with pytest.raises(ContractError, match="does not fit equipment_sensors"):
        decode_datum(schema, datum[:-cut])
    with pytest.raises(ContractError, match="the rest belongs to no field"):
        decode_datum(schema, datum + b"\x00" * cut)


def changed(**changes: dict[str, Any] | None) -> dict[str, Any]:
    """The sensors' schema with fields replaced, added (new name) or removed (None)."""
    schema = derive_schema(SENSORS)
    fields = {field["name"]: field for field in schema["fields"]} | changes
    return {**schema, "fields": [field for field in fields.values() if field]}


def test_an_added_optional_field_reads_as_null_in_old_data() -> None:
    """Forbids an evolution that is allowed but does not decode."""
    old = derive_schema(SENSORS)
    new = changed(oil_ppm={"name": "oil_ppm", "type": ["null", "double"], "default": None})

    assert unreadable_changes(old, new) == []
    assert decode_datum(old, encode_datum(old, READING), reader=new)["oil_ppm"] is None


def test_a_required_field_may_become_optional() -> None:
    """Forbids refusing a change that loses nothing."""
    new = changed(equipment_id={"name": "equipment_id", "type": ["null", "string"], "default": None})

    assert unreadable_changes(derive_schema(SENSORS), new) == []
    assert unreadable_changes(new, derive_schema(SENSORS)) == [
        "field 'equipment_id' became required; older rows may hold null"
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"power_kw": None}, "field 'power_kw' was removed"),
        ({"power_kw": {"name": "power_kw", "type": ["null", "string"]}},
         "field 'power_kw' changed its type from double to string"),
        ({"event_at": {"name": "event_at", "type": "long"}},
         "field 'event_at' changed its type from timestamp-micros to long"),
        ({"shift": {"name": "shift", "type": "string"}}, "field 'shift' is new and required"),
    ],
)  # fmt: skip
def test_a_change_that_loses_data_is_named(changes: dict[str, Any], reason: str) -> None:
    """Forbids an evolution after which rows already written could not be read whole."""
    reasons = unreadable_changes(derive_schema(SENSORS), changed(**changes))

    assert len(reasons) == 1
    assert reasons[0].startswith(reason)


def test_the_arrow_schema_is_the_raw_table() -> None:
    """Forbids a lake column of another type, order or nullability than the raw table's."""
    schema = arrow_schema(SENSORS)

    assert schema.names[:9] == [
        "batch_id", "topic_id", "kafka_partition", "kafka_offset", "known_at", "landed_at",
        "tenant_id", "equipment_id", "event_at",
    ]  # fmt: skip
    assert schema.field("event_at").type == pa.timestamp("us", tz="UTC")
    assert not schema.field("event_at").nullable
    assert schema.field("vibration").type == pa.float64()
    assert schema.field("vibration").nullable
