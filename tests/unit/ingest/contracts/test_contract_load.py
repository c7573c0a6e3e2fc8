"""Reading contract files: what they say arrives, and what cannot be honored is refused by file and field."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestration.ingest.contracts import (
    ContractError,
    Direction,
    FieldRole,
    MessageFormat,
    ViolationMode,
    load_contract,
    load_contracts,
)


def test_what_the_file_says_arrives(contract_file: Path) -> None:
    """Forbids a property that the file states and the model loses."""
    contract = load_contract(contract_file)

    assert (contract.topic, contract.table, contract.version) == ("oil-samples", "oil_samples", "1.0.0")
    assert (contract.format, contract.direction) == (MessageFormat.AVRO, Direction.IN)
    assert (contract.partitions, contract.message_key) == (1, ("tenant_id", "sample_id"))
    assert contract.primary_key == ("sample_id", "tenant_id")  # by position, not by order in the file
    assert contract.event_time_field == "event_at"
    assert contract.grain == "one row per tenant and sample"
    assert contract.field("event_at").minimum == datetime(2000, 1, 1, tzinfo=UTC)
    assert contract.field("drawn_by").is_pii
    assert contract.field("verdict").enum == ("good", "watch", "change")
    iron = contract.field("iron_ppm")
    assert (iron.unit, iron.minimum, iron.maximum, iron.role) == ("ppm", 0, 5000, FieldRole.METRIC)
    assert contract.metrics == (iron,)


def test_a_field_without_a_mode_has_its_topics(contract_file: Path) -> None:
    """Forbids a field's mode that falls back to a constant instead of the topic's own."""
    contract = load_contract(contract_file)

    assert contract.field("verdict").on_violation is ViolationMode.DISCARD_ROW
    assert contract.field("iron_ppm").on_violation is ViolationMode.DISCARD_VALUE
    assert contract.on_unknown_field is ViolationMode.EVOLVE


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("required: true", "requird: true",
         "tenant_id: key 'requird' is not part of ODCS 3"),
        ("physicalType: double", "physicalType: float", "iron_ppm: physicalType 'float': use one of string"),
        ("logicalType: number", "logicalType: string", "iron_ppm: logicalType 'string': double is a number"),
        ("value: discard_value", "value: drop", "iron_ppm: onViolation is 'drop': use one of evolve, freeze"),
        ("property: unit", "property: units", "iron_ppm: custom property 'units' is unknown; known are enum"),
        ("maximum: 5000", "maximum: -1", "iron_ppm: has minimum 0 above maximum -1"),
        ("maximum: 5000", "maximum: high", "iron_ppm: bound 'high' does not fit a double"),
        ("maximum: 5000", "multipleOf: 5", "iron_ppm: logicalTypeOptions.multipleOf is not enforced here"),
        ("01T00:00:00Z", "01T00:00:00", "event_at: bound '2000-01-01T00:00:00' names no time zone"),
        ("value: eventTime", "value: metric", "exactly one required timestamp-micros field"),
        ("description: Iron.", "description: ''", "iron_ppm: has no description"),
        ("name: iron_ppm", "name: Iron-ppm", "Iron-ppm: is no column name"),
        ("name: iron_ppm", "name: landed_at", "landed_at: is the name of a system column"),
        ("name: iron_ppm", "name: offset", "offset: is a reserved word of Postgres"),
        ("tenant_id/sample_id", "tenant_id/verdict", "verdict: is part of the message key, so it has to be"),
        ("name: iron_ppm", "name: verdict", "verdict: stands in the contract twice"),
        ("tenant_id/sample_id", "tenant_id/machine", "messageKey names 'machine', which is not a field"),
        ("property: partitions, value: 1", "property: partitions, value: 0", "partitions is 0"),
        ("property: format, value: avro", "property: format, value: xml", "format is 'xml': use one of"),
        ("[good, watch, change]", "[good, yes]", "verdict: enum is ['good', True]: state a list of texts"),
        ("name: tenant_id", "name: tenant", "field 'tenant_id' is missing"),
        ("version: 1.0.0", "versoin: 1.0.0", "not an ODCS 3 contract"),
        ("kind: DataContract", "kind: [", "not an ODCS 3 contract"),
    ],
)  # fmt: skip
def test_a_wrong_contract_is_refused_by_file_and_field(
    contract_file: Path, old: str, new: str, message: str
) -> None:
    """Forbids taking a misspelling for a wish, and an error that leaves the reader searching."""
    contract_file.write_text(contract_file.read_text().replace(old, new, 1))

    with pytest.raises(ContractError) as error:
        load_contract(contract_file)

    assert "oil-samples.odcs.yaml: " in str(error.value)
    assert message in str(error.value)


def test_a_required_value_cannot_be_discarded(contract_file: Path) -> None:
    """Forbids a mode that would land null in a column that is not null."""
    text = contract_file.read_text().replace(
        "description: Iron.", "description: Iron.\n        required: true"
    )
    contract_file.write_text(text)

    with pytest.raises(ContractError, match="iron_ppm: is required, so its value cannot be discarded"):
        load_contract(contract_file)


def test_all_faults_are_shown_at_once(contract_file: Path) -> None:
    """Forbids one fault per run, which makes fixing a contract a guessing game."""
    text = contract_file.read_text()
    contract_file.write_text(text.replace("maximum: 5000", "maximum: -1").replace("Verdict of", "").replace(
        "description:  the laboratory.", "description: ''"))  # fmt: skip
    (contract_file.parent / "second.odcs.yaml").write_text(text.replace("value: avro", "value: xml"))

    with pytest.raises(ContractError) as error:
        load_contracts(contract_file.parent)

    faults = str(error.value).splitlines()
    assert [fault.split(": ")[:2] for fault in faults] == [
        ["oil-samples.odcs.yaml", "iron_ppm"],
        ["oil-samples.odcs.yaml", "verdict"],
        ["second.odcs.yaml", "topic"],
    ]


def test_two_contracts_of_one_topic_are_refused(contract_file: Path) -> None:
    """Forbids that the file which happens to be read last decides."""
    (contract_file.parent / "second.odcs.yaml").write_text(contract_file.read_text())

    with pytest.raises(ContractError, match=r"second\.odcs\.yaml: topic oil-samples .* is already taken"):
        load_contracts(contract_file.parent)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """Forbids running without any contract because a path was mistyped."""
    with pytest.raises(ContractError, match=r"holds no \*\.odcs\.yaml"):
        load_contracts(tmp_path)


def test_the_six_topics_of_the_plant() -> None:
    """Forbids that a topic, its format or its direction changes unnoticed: users write against them."""
    contracts = load_contracts()

    assert {topic: (c.format.value, c.direction.value) for topic, c in contracts.items()} == {
        "equipment-sensors": ("avro", "in"),
        "equipment-status": ("avro", "in"),
        "maintenance-events": ("avro", "in"),
        "processed_alerts": ("json", "out"),
        "quality-metrics": ("avro", "in"),
        "raw_logs": ("json", "in"),
    }
    assert {field.name for c in contracts.values() for field in c.fields if field.is_pii} == {
        "technician_id",
        "operator_id",
    }
