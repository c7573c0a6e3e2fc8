"""Deriving files from contracts in a copy of the repository."""

import json
from pathlib import Path

import pytest

from orchestration.environment import PROJECT_ROOT
from orchestration.ingest.contracts import ContractError, load_contracts, pinned_schemas
from orchestration.ingest.contracts.dbt import fill_metric_regions
from orchestration.ingest.contracts.revisions import read_chain
from orchestration.ingest.contracts.sync import CONTRACTS_PATH, VERSIONS_PATH, stale_files, sync

OIL = """\
      - name: oil_ppm
        logicalType: number
        physicalType: double
        required: false
        description: Iron particles in the oil.
        logicalTypeOptions: {minimum: 0, maximum: 5000}
        customProperties:
          - {property: role, value: metric}
          - {property: unit, value: ppm}
          - {property: onViolation, value: discard_value}
"""


def edit(repository: Path, topic: str, old: str, new: str) -> None:
    """Change a contract of the copy, once."""
    path = repository / CONTRACTS_PATH / f"{topic}.odcs.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def next_revision_prefix(repository: Path) -> str:
    """How the file name of the next generated revision starts."""
    return f"contract_{read_chain(repository / VERSIONS_PATH).length + 1:04d}_"


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_repository_is_in_sync() -> None:
    """Forbids committing a contract without what is derived from it."""
    assert [str(file.path) for file in stale_files(PROJECT_ROOT)] == []


def test_a_second_run_changes_nothing(repository: Path) -> None:
    """Forbids a derivation that depends on order, time or its own output."""
    edit(repository, "equipment-sensors", "      - name: volt\n", OIL + "      - name: volt\n")
    first = sync(repository)
    before = contents(repository)

    second = sync(repository)

    assert first
    assert second == []
    assert contents(repository) == before


def test_check_names_what_is_stale_and_writes_nothing(repository: Path) -> None:
    """Forbids a check that repairs, and one that misses a file: each of them carries the metric somewhere."""
    edit(repository, "equipment-sensors", "      - name: volt\n", OIL + "      - name: volt\n")
    before = contents(repository)
    prefix = next_revision_prefix(repository)

    stale = stale_files(repository)

    names = {str(file.path) for file in stale if "dbt_project/models/marts" not in str(file.path)}
    revision = next(name for name in names if f"/versions/{prefix}" in name)
    assert names - {revision} == {
        "orchestration/ingest/contracts/generated/schemas.json",
        "dbt_project/models/staging/_raw__sources.yml",
        "dbt_project/macros/generated/contract_fields.sql",
        "ml/features/generated/metrics.json",
        "ml/validation/generated/equipment-sensors.json",
    }
    assert contents(repository) == before


def test_better_wording_costs_no_schema_id_and_no_migration(repository: Path) -> None:
    """Forbids a new id, which every consumer would have to fetch, for a description."""
    edit(
        repository, "equipment-sensors", "Bearing housing temperature.", "Temperature of the bearing housing."
    )

    changed = {str(file.path) for file in sync(repository)}

    assert "dbt_project/models/staging/_raw__sources.yml" in changed
    assert not any("schemas.json" in name or "versions" in name for name in changed)


def test_an_old_schema_id_stays(repository: Path) -> None:
    """Forbids rewriting an id that messages in Kafka already carry."""
    folder = repository / CONTRACTS_PATH
    before = pinned_schemas(folder)
    edit(repository, "equipment-sensors", "      - name: volt\n", OIL + "      - name: volt\n")

    sync(repository)

    after = pinned_schemas(folder)
    assert {schema_id: after[schema_id] for schema_id in before} == before
    (new,) = after.keys() - before.keys()
    assert new == max(before) + 1
    assert (after[new].topic, after[new].version) == ("equipment-sensors", 2)


@pytest.mark.parametrize(
    ("topic", "old", "new", "message"),
    [
        ("equipment-sensors", "name: power_kw", "name: power",
         "data written with schema id 101 would not be readable: field 'power_kw' was removed"),
        ("equipment-status", "logicalType: number\n        physicalType: double",
         "logicalType: integer\n        physicalType: long",
         "schema id 102 would not be readable: field 'operating_hours_h' changed its type from"),
        ("quality-metrics", "required: false", "required: true",
         "schema id 104 would not be readable: field 'defect_type' became required"),
        ("raw_logs", "name: trace_id", "name: trace",
         "raw.raw_logs.trace_id: the contract removed the field"),
        ("raw_logs", "direction, value: in", "direction, value: out",
         "raw.raw_logs: no contract with direction `in` names this table any more"),
    ],
)  # fmt: skip
def test_a_change_that_would_lose_data_is_refused_and_nothing_is_written(
    repository: Path, topic: str, old: str, new: str, message: str
) -> None:
    """Forbids a sync that leaves old messages or landed rows behind."""
    edit(repository, topic, old, new)
    before = contents(repository)

    with pytest.raises(ContractError) as error:
        sync(repository)

    assert message in str(error.value)
    assert contents(repository) == before


def test_a_required_field_that_becomes_optional_loosens_its_column(repository: Path) -> None:
    """Forbids a contract that allows null over a column that does not."""
    edit(
        repository, "quality-metrics",
        "required: true\n        description: Product that was made.",
        "required: false\n        description: Product that was made.",
    )  # fmt: skip

    written = {file.path: file.text for file in sync(repository)}

    (text,) = [text for path, text in written.items() if path.parent == VERSIONS_PATH]
    assert "alter table raw.quality_metrics alter column product_code drop not null" in text
    assert read_chain(repository / VERSIONS_PATH).columns["quality_metrics"]["product_code"] == "text"
    assert sync(repository) == []


def test_the_next_revision_follows_the_head_even_if_it_is_hand_written(repository: Path) -> None:
    """Forbids a second head, which no upgrade can pass."""
    versions = repository / VERSIONS_PATH
    head, prefix = read_chain(versions).head, next_revision_prefix(repository)
    (versions / "0099_by_hand.py").write_text(f'revision = "0099"\ndown_revision = "{head}"\n')
    edit(repository, "equipment-sensors", "      - name: volt\n", OIL + "      - name: volt\n")

    sync(repository)

    (written,) = versions.glob(f"{prefix}*.py")
    assert 'down_revision = "0099"' in written.read_text()
    assert read_chain(versions).head == written.stem


def test_two_heads_are_refused_by_name(repository: Path) -> None:
    """Forbids picking one of two branches in silence."""
    versions = repository / VERSIONS_PATH
    (versions / "0099_by_hand.py").write_text('revision = "0099"\ndown_revision = "0001"\n')

    with pytest.raises(ContractError, match=r"2 heads .*0099.*down_revision"):
        sync(repository)


def test_a_new_revision_has_the_same_name_on_every_machine(repository: Path) -> None:
    """Forbids that two developers who add the same metric make two revisions."""
    prefix = next_revision_prefix(repository)
    edit(repository, "equipment-sensors", "      - name: volt\n", OIL + "      - name: volt\n")
    sync(repository)
    (first,) = (repository / VERSIONS_PATH).glob(f"{prefix}*.py")
    text = first.read_text()
    first.unlink()

    sync(repository)

    assert first.read_text() == text


def test_damaged_pinned_schemas_are_not_made_anew(repository: Path) -> None:
    """Forbids replacing lost ids by new ones: messages in Kafka could never be decoded again."""
    (repository / CONTRACTS_PATH / "generated" / "schemas.json").write_text('{"schemas": [{')

    with pytest.raises(ContractError, match="restore it from version control"):
        sync(repository)


def test_metrics_for_ml_say_all_that_the_contract_says(repository: Path) -> None:
    """Forbids a metric list in which a range or a unit got lost on the way."""
    metrics = json.loads((repository / "ml/features/generated/metrics.json").read_text())

    assert metrics[0] == {
        "name": "temperature_c",
        "unit": "degC",
        "minimum": -40,
        "maximum": 250,
        "description": "Bearing housing temperature.",
        "topic": "equipment-sensors",
    }
    assert [metric["name"] for metric in metrics] == [
        "temperature_c", "vibration_mm_s", "pressure_bar", "rotation_rpm", "power_kw",
        "volt", "rotate", "pressure", "vibration",
    ]  # fmt: skip


def test_a_metric_region_of_a_hand_written_yml_is_filled() -> None:
    """Forbids losing hand-written text around a region, and a region that grows with each run."""
    text = (
        "models:\n  - name: mart\n    columns:\n      - name: tenant_id\n"
        "      # contract metrics: avg_{name}_24h\n"
        "      # end of contract metrics\n"
        "      - name: copies\n"
    )
    contracts = load_contracts()

    filled = fill_metric_regions(text, contracts)

    assert (
        "      # contract metrics: avg_{name}_24h\n"
        "      - name: avg_temperature_c_24h\n"
        "        data_type: double precision\n"
        '        description: "Bearing housing temperature. Unit: degC."\n'
        "      - name: avg_vibration_mm_s_24h\n"
    ) in filled
    assert filled.endswith("      # end of contract metrics\n      - name: copies\n")
    assert filled.startswith(text[: text.index("      # end")])
    assert fill_metric_regions(filled, contracts) == filled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# contract metrics: {name}\n- name: x\n", "close each region"),
        (
            "# contract metrics: {name}\n# contract metrics: {name}\n# end of contract metrics\n",
            "close each region",
        ),
        ("# contract metrics: metric\n# end of contract metrics\n", "lacks {name}"),
    ],
)
def test_a_broken_region_is_refused(text: str, message: str) -> None:
    """Forbids swallowing the rest of a file because an end mark was forgotten."""
    with pytest.raises(ContractError, match=message):
        fill_metric_regions(text, load_contracts())
