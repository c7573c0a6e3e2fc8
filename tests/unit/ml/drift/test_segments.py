"""Which drift matters, and what may be a reference."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from ml.drift.performance import model_performance
from ml.drift.segments import check_segments
from ml.drift.tenant_readings import TenantReadings, grid
from ml.features.history import EQUIPMENT_SCHEMA, EVENT_SCHEMA, INCIDENT_SCHEMA, INSTANT, PlantHistory
from ml.validation.quarantine import Quarantine
from ml.validation.readings import Readings

END = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 55


def machine(seed: int, moved: dict[int, float]) -> Readings:
    """55 days of two sensors, some of which move in the last ten days."""
    values = np.random.default_rng(seed).standard_normal((DAYS * 24, 2))
    for column, by in moved.items():
        values[45 * 24 :, column] += by
    return Readings(
        metrics=("idle", "load"),
        values=values,
        reference_steps=45 * 24,
        steps_per_day=24,
        lowest=np.full(2, -np.inf),
        highest=np.full(2, np.inf),
    )


def test_a_small_move_that_matters_stands_above_a_large_one_that_does_not() -> None:
    """Forbids a ranking by size: predictions follow `load` alone, and `idle` moved further."""
    machines = {f"M-{index}": machine(index, {0: 2.5, 1: 1.0}) for index in range(3)}
    found = TenantReadings(machines, dict.fromkeys(machines, "X"), END - timedelta(days=10), END)
    rows = [
        (name, END - timedelta(days=DAYS - day - 0.5), 1 / (1 + np.exp(2.0 - 1.5 * readings.daily[day, 1])))
        for name, readings in machines.items()
        for day in range(DAYS)
    ]
    scores = pl.DataFrame(rows, schema=["equipment_id", "as_of", "probability"], orient="row")
    (segment,) = check_segments(found, {"failure-24h": scores})
    assert [one.feature for one in segment.features] == ["load", "idle"]
    effects = {one.feature: one.score_effect or 0.0 for one in segment.features}
    # The slope is 1.5 log odds per deviation and the shift about 1; the ridge takes a little of it.
    assert 0.8 < effects["load"] < 2.0
    assert abs(effects["idle"]) < 0.4
    assert segment.violations == ()


def test_a_mean_far_off_violates_the_suite() -> None:
    """Forbids a suite that is written and never evaluated."""
    machines = {"M-1": machine(1, {0: 7.5})}
    found = TenantReadings(machines, {"M-1": "X"}, END - timedelta(days=10), END)
    (segment,) = check_segments(found, {})
    assert len(segment.violations) == 1
    assert "the mean of idle" in segment.violations[0]


def test_promised_and_happened_performance() -> None:
    """Forbids a realised precision that counts outcomes that nobody can know yet.

    Three alerts at 0.8 promise a precision of 0.8; one mature alert of two failed: 0.5.
    """
    scored = pl.DataFrame(
        {
            "as_of": [END] * 4,
            "probability": [0.8, 0.8, 0.8, 0.2],
            "is_alert": [True, True, True, False],
            "is_failure": [True, False, False, False],
            "is_mature": [True, True, False, True],
        }
    )
    found = model_performance("failure-24h", scored, END - timedelta(days=1))
    assert round(found.promised.precision, 6) == 0.8
    assert (found.happened.rows, found.happened.precision, found.happened.recall) == (3, 0.5, 1.0)


def history() -> PlantHistory:
    """One machine, one metric, 55 days of hours (and the one before them) whose value is their own number."""
    hours = DAYS * 24 + 1
    at = [END - timedelta(hours=hours - hour - 1) for hour in range(hours)]
    metrics = pl.DataFrame(
        {"equipment_id": ["M-1"] * hours, "hour_at": at, "known_at": at, "m_mean": np.arange(float(hours))}
    ).with_columns(pl.col("hour_at", "known_at").cast(INSTANT))
    return PlantHistory(
        tenant_id="t",
        metrics=metrics,
        events=pl.DataFrame(schema=EVENT_SCHEMA),
        equipment=pl.DataFrame(schema=EQUIPMENT_SCHEMA),
        incidents=pl.DataFrame(schema=INCIDENT_SCHEMA),
    )


def known_hours(held: list[Quarantine], starts: dict[str, datetime]) -> tuple[int, int]:
    """Hours of the reference and of the window that are read."""
    found = grid(history(), END, held, starts)
    assert not isinstance(found, str)
    readings = found.machines["M-1"]
    return int(np.isfinite(readings.reference).sum()), int(np.isfinite(readings.window).sum())


def test_what_a_broken_sensor_said_is_no_reference() -> None:
    """Forbids a fault that teaches the monitor to call the sound sensor flat: ten days are left out."""
    first = END - timedelta(days=40)
    held = [Quarantine("M-1", "m", first, first + timedelta(days=10), "noisy")]
    assert known_hours(held, {}) == (35 * 24, 10 * 24)
    # In the window the readings are judged: without them no quarantine would end.
    assert known_hours([Quarantine("M-1", "m", END - timedelta(days=5), None, "noisy")], {}) == (
        45 * 24,
        10 * 24,
    )


def test_a_new_mode_is_compared_with_itself_as_soon_as_it_can_be() -> None:
    """Forbids a switch of reference that nobody reads, and one that leaves too little to compare with.

    35 days of the new mode are 25 of reference and 10 of window; of 25 days only 15 would be reference.
    """
    assert known_hours([], {"M-1": END - timedelta(days=35)}) == (25 * 24, 10 * 24)
    assert known_hours([], {"M-1": END - timedelta(days=25)}) == (45 * 24, 10 * 24)
