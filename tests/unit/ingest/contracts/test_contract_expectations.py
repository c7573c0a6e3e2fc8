"""The generated suites in Great Expectations itself: they load, run, and find what is wrong."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration.environment import PROJECT_ROOT
from orchestration.ingest.contracts import TopicContract, load_contracts
from orchestration.ingest.contracts.expectations import suite_text
from orchestration.ingest.contracts.sync import SUITES_PATH

CONTRACTS = load_contracts()
READING = {
    "tenant_id": "demo-plant",
    "equipment_id": "CNC-A-101",
    "event_at": datetime(2026, 1, 5, tzinfo=UTC),
    **{field.name: None for field in CONTRACTS["equipment-sensors"].metrics},
}


@pytest.fixture(scope="module")
def context() -> Any:
    """An in-memory context that calls nobody."""
    import great_expectations as gx

    return gx.get_context(mode="ephemeral")


def validate(context: Any, text: str, rows: list[dict[str, Any]]) -> Any:
    """Result of a suite's JSON on rows."""
    import pandas as pd
    from great_expectations.core.expectation_suite import ExpectationSuite

    suite = ExpectationSuite(**json.loads(text))
    source = context.data_sources.add_or_update_pandas("rows")
    batch = (
        source.add_dataframe_asset("rows")
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": pd.DataFrame(rows)})
    )
    return batch.validate(suite)


def failures(result: Any) -> list[tuple[str, str, str]]:
    """Kind, column and severity of each expectation that failed."""
    return [
        (
            r.expectation_config.type,
            r.expectation_config.kwargs["column"],
            str(r.expectation_config.severity.value),
        )
        for r in result.results
        if not r.success
    ]


@pytest.mark.parametrize("topic", [t for t, c in CONTRACTS.items() if c.direction == "in"])
def test_the_committed_suite_is_what_great_expectations_reads(topic: str) -> None:
    """Forbids a suite that only looks like one: each expectation is built by the library that runs it."""
    from great_expectations.core.expectation_suite import ExpectationSuite

    text = (PROJECT_ROOT / SUITES_PATH / f"{topic}.json").read_text()

    suite = ExpectationSuite(**json.loads(text))

    columns = {item.column for item in suite.expectations}
    assert columns == {field.name for field in CONTRACTS[topic].fields}
    assert len(suite.expectations) == len(json.loads(text)["expectations"])
    assert suite.to_json_dict()["expectations"] == json.loads(text)["expectations"]


def test_valid_readings_pass_and_a_hot_one_is_a_warning(context: Any) -> None:
    """Forbids a range that is not checked, and a broken sensor that stops the plant's whole batch."""
    text = suite_text(CONTRACTS["equipment-sensors"])
    # 250 degC is the contract's inclusive maximum; 250.5 lies above it.
    edge, above = {**READING, "temperature_c": 250.0}, {**READING, "temperature_c": 250.5}

    assert validate(context, text, [edge, READING]).success
    assert failures(validate(context, text, [edge, above])) == [
        ("expect_column_values_to_be_between", "temperature_c", "warning")
    ]


def test_a_missing_column_a_null_key_and_an_unknown_status_are_critical(context: Any) -> None:
    """Forbids a suite that knows ranges alone."""
    contract: TopicContract = CONTRACTS["equipment-status"]
    row = {field.name: None for field in contract.fields} | {
        "tenant_id": "demo-plant",
        "equipment_id": None,
        "event_at": datetime(2026, 1, 5, tzinfo=UTC),
        "status": "asleep",
    }
    del row["error_code"]

    assert failures(validate(context, suite_text(contract), [row])) == [
        ("expect_column_values_to_not_be_null", "equipment_id", "critical"),
        ("expect_column_values_to_be_in_set", "status", "critical"),
        ("expect_column_to_exist", "error_code", "critical"),
    ]
