"""Signs of sensor faults, grades and quarantine."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ml.validation.grades import Grade, grade_sensors
from ml.validation.quarantine import Quarantine, masked
from ml.validation.readings import Readings

NOW = datetime(2026, 3, 1, tzinfo=UTC)
METRICS = ("temperature", "vibration", "rotation")


def readings(change: str = "") -> Readings:
    """45 quiet days and 10 more, in which sensor 0 may be faulty; rotation rests at 0 every night."""
    rng = np.random.default_rng(5)
    values = np.array([60.0, 2.0, 1500.0]) + rng.standard_normal((55 * 24, 3)) * np.array([2.0, 0.2, 20.0])
    values[np.arange(55 * 24) % 24 < 8, 2] = 0.0
    window = slice(45 * 24, None)
    match change:
        case "stuck":
            values[50 * 24 : 50 * 24 + 30, 0] = values[50 * 24, 0]
        case "missing":
            values[window, 0][::2] = np.nan
        case "flat":
            values[window, 0] = 60.0 + 0.01 * rng.standard_normal(240)
        case "duplicate":
            values[window, 0] = values[window, 1]
        case "spikes":
            values[window, 0][::20] += 60.0
        case "range":
            values[window, 0][::30] = -300.0
        case _:
            pass
    return Readings(
        METRICS, values, 45 * 24, 24, np.array([-40.0, 0.0, 0.0]), np.array([250.0, 100.0, 20000.0])
    )


@pytest.mark.parametrize("change", ["stuck", "missing", "flat", "duplicate", "spikes", "range"])
def test_faulty_sensor_is_bad_and_the_others_are_not(change: str) -> None:
    """Forbids blaming a machine's other sensors, or letting a broken one into training."""
    grades = grade_sensors("m", readings(change), NOW)
    bad = [one.metric for one in grades if one.grade is Grade.BAD]
    assert bad == ["temperature"], [(one.metric, one.problems) for one in grades]
    assert not grades[0].is_usable
    assert grades[0].problems


def test_machine_that_rests_has_no_stuck_sensor() -> None:
    """Forbids calling 0 rpm at night a stuck sensor."""
    assert all(one.grade is Grade.GOOD for one in grade_sensors("m", readings(), NOW))


def test_quarantine_masks_one_sensor_of_one_machine_for_its_time() -> None:
    """Forbids training on quarantined readings, and losing those of other machines, sensors and times."""
    hours = [NOW + timedelta(hours=hour) for hour in (1, 2, 3)]
    frame = pl.DataFrame(
        {
            "equipment_id": ["a", "a", "a", "b", "b", "b"],
            "hour_at": hours * 2,
            "t_mean": [1.0] * 6,
            "t_max": [1.0] * 6,
            "v_mean": [1.0] * 6,
        }
    )
    found = masked(frame, [Quarantine("a", "t", hours[0], hours[1], "stuck")])
    # (01:00, 02:00] is the hour that ends at 02:00: one row of one machine.
    assert found["t_mean"].to_list() == [1.0, None, 1.0, 1.0, 1.0, 1.0]
    assert found["t_max"].null_count() == 1
    assert found["v_mean"].null_count() == 0
