"""The contract's rules on columns."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from orchestration.ingest.contracts import TopicContract, ViolationMode, load_contracts
from orchestration.ingest.decode import INDEX, frame_schema
from orchestration.ingest.rules import KNOWN_AT, Rules

KNOWN = datetime(2026, 1, 5, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def sensors() -> TopicContract:
    """The contract of the sensor topic."""
    return load_contracts()["equipment-sensors"]


def frame(contract: TopicContract, *rows: dict[str, object]) -> pl.DataFrame:
    """Valid readings with changes, all known at one instant."""
    valid = {"tenant_id": "t", "equipment_id": "e", "event_at": KNOWN}
    schema = {**frame_schema(contract), INDEX: pl.UInt32(), KNOWN_AT: pl.Datetime("us", "UTC")}
    full = [{**valid, **row, INDEX: i, KNOWN_AT: KNOWN} for i, row in enumerate(rows)]
    return pl.DataFrame(full, schema=schema, orient="row")


def test_rows_without_violation_pass_as_they_are(sensors: TopicContract) -> None:
    """Forbids a rule that touches valid rows; null is valid in an optional field, and so are the limits."""
    found = Rules(sensors).judge(frame(sensors, {"temperature_c": -40.0}, {"temperature_c": 250.0}, {}))
    assert (found.refusals, found.discarded_values) == ([], 0)
    assert found.frame["temperature_c"].to_list() == [-40.0, 250.0, None]


def test_future_is_measured_from_when_the_row_was_known(sensors: TopicContract) -> None:
    """Forbids the wall clock as the limit, which would refuse no event of a replay, or all of them."""
    day = timedelta(days=1)
    found = Rules(sensors).judge(
        frame(sensors, {"event_at": KNOWN + day}, {"event_at": KNOWN + day + timedelta(microseconds=1)})
    )
    assert [(item.index, item.error_class) for item in found.refusals] == [(1, "EventTimeInFuture")]


def test_first_broken_rule_is_the_reason_and_values_of_refused_rows_do_not_count(
    sensors: TopicContract,
) -> None:
    """Forbids a row that is counted twice: as a dead letter and as a row with discarded values."""
    found = Rules(sensors).judge(
        frame(
            sensors,
            {"equipment_id": None, "event_at": datetime(1970, 1, 1, tzinfo=UTC), "temperature_c": 900.0},
            {"temperature_c": float("nan"), "vibration_mm_s": -1.0},
        )
    )
    assert [(item.index, item.error_class) for item in found.refusals] == [(0, "NullInRequiredField")]
    assert found.discarded_values == 2
    assert found.frame.select("temperature_c", "vibration_mm_s").rows() == [(None, None)]


@pytest.mark.parametrize(
    ("mode", "landed", "refused", "discarded"),
    [
        (ViolationMode.EVOLVE, [900.0], [], 0),
        (ViolationMode.FREEZE, [], [False], 0),
        (ViolationMode.DISCARD_ROW, [], [True], 0),
        (ViolationMode.DISCARD_VALUE, [None], [], 1),
    ],
)
def test_each_mode(
    sensors: TopicContract, mode: ViolationMode, landed: list[object], refused: list[bool], discarded: int
) -> None:
    """Forbids two modes that do the same."""
    fields = tuple(
        replace(field, on_violation=mode) if field.name == "temperature_c" else field
        for field in sensors.fields
    )
    found = Rules(replace(sensors, fields=fields)).judge(frame(sensors, {"temperature_c": 900.0}))
    assert found.frame["temperature_c"].to_list() == landed
    assert [item.is_discarded for item in found.refusals] == refused
    assert found.discarded_values == discarded


def test_reasons_name_field_value_and_expectation(sensors: TopicContract) -> None:
    """Forbids a dead letter that a person has to decode to understand; long values are cut."""
    status = load_contracts()["equipment-status"]
    found = Rules(status).judge(frame(status, {"status": "x" * 500}))
    (refusal,) = found.refusals
    assert refusal.message == f"status is {'x' * 120}…; the contract asks for one of running, idle, error"
