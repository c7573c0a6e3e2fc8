"""Loosely typed values become records of a contract, or a reason."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from orchestration.ingest.contracts import ContractError, load_contracts
from orchestration.ingest.intake.coerce import coerce_record, known_time

SENSORS = load_contracts()["equipment-sensors"]
KEY = {"tenant_id": "t", "equipment_id": "m", "event_at": "2026-01-01T00:00:00Z"}


def test_texts_of_a_csv_become_the_contracts_types() -> None:
    """Forbids a number that stays text, and an empty cell that becomes 0."""
    record = coerce_record(SENSORS, {**KEY, "temperature_c": " 61.5", "pressure_bar": "", "power_kw": "NaN"})

    assert record["temperature_c"] == 61.5
    assert "pressure_bar" not in record
    assert "power_kw" not in record


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-01-01 03:00:00+02:00", datetime(2026, 1, 1, 1, tzinfo=UTC)),
        (datetime(2026, 1, 1, 3, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 1, 1, 1, tzinfo=UTC)),
        ("2026-01-01", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_instants_are_utc_whatever_zone_they_name(given: Any, expected: datetime) -> None:
    """Forbids an instant that moves with the zone of its source."""
    assert coerce_record(SENSORS, {**KEY, "event_at": given})["event_at"] == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature_c": "warm"}, "temperature_c: 'warm' is no double"),
        ({"temperature_c": True}, "temperature_c: True is no double"),
        ({"temperature_c": "1e999"}, "not finite"),
        ({"event_at": 1767225600}, "the unit of a number would be a guess"),
        ({"event_at": ""}, "event_at: is required and missing"),
        ({"temprature_c": 1.0}, "temprature_c: not a field"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(change: dict[str, Any], said: str) -> None:
    """Forbids a guess, and a misspelt column that vanishes."""
    with pytest.raises(ContractError, match=said):
        coerce_record(SENSORS, {**KEY, **change})


def test_a_known_time_that_is_none_is_the_landed_time() -> None:
    """Forbids a file with a broken `known_at` column that stops its rows."""
    assert known_time("soon") is None
    assert known_time("2026-01-01T00:00:00Z") == datetime(2026, 1, 1, tzinfo=UTC)
