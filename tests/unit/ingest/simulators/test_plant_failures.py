"""Wear, failures and their signs, measured against the ground truth."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from orchestration.ingest.simulators.clock import PLANT_START
from orchestration.ingest.simulators.fleet import COMPONENTS, FLEET, Component
from orchestration.ingest.simulators.ground_truth import describe, wear_by_hour
from orchestration.ingest.simulators.plant import (
    MAINTENANCE,
    SENSORS,
    STATUS,
    PlantSimulator,
    SimulatedWindow,
)
from orchestration.ingest.simulators.wear import ComponentWear

END = PLANT_START + timedelta(days=120)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def truth(plant: PlantSimulator, history: SimulatedWindow) -> dict[str, Any]:
    """Failures, services and sensor faults of the history."""
    found = describe(plant, END)
    for failure in found["failures"]:
        for name in ("signs_from_at", "failed_at", "repaired_at"):
            failure[name] = datetime.fromisoformat(failure[name])
    return found


@pytest.fixture(scope="module")
def readings(history: SimulatedWindow) -> pl.DataFrame:
    """Readings without repeats, by machine and time."""
    return history.frames[SENSORS].unique(["equipment_id", "event_at"]).sort("equipment_id", "event_at")


def test_wear_grows_with_load_and_only_while_up() -> None:
    """Forbids components that age while the machine stands, or that don't care for load."""
    machines = len(FLEET)
    light, heavy, standing = (ComponentWear(seed=1) for _ in range(3))
    before = light.share_of_life()
    heat = np.ones(machines)
    light.advance(load=np.full(machines, 0.3), heat=heat, hours=heat)
    heavy.advance(load=np.full(machines, 0.9), heat=heat, hours=heat)
    standing.advance(load=np.full(machines, 0.9), heat=heat, hours=np.zeros(machines))
    conveyor = next(index for index, machine in enumerate(FLEET) if machine.model.name == "CV-120")
    at = conveyor, COMPONENTS.index(Component.DRIVE_BELT)
    # Three times the load wears 3 ** 1.3 = 4.17 times as fast.
    gained = heavy.share_of_life() - before, light.share_of_life() - before
    assert gained[0][at] / gained[1][at] == pytest.approx(3.0**1.3)
    assert (standing.share_of_life() == before).all()


def test_replacement_resets_wear_and_draws_another_life() -> None:
    """Forbids a new component that is as worn as the old one, or that fails at the same wear."""
    components = ComponentWear(seed=1)
    old = components.cycle(0, 0)
    components.replace(0, 0)
    assert components.share_of_life()[0, 0] == 0.0
    assert components.cycle(0, 0).threshold != old.threshold


def test_wear_climbs_to_failure_and_starts_anew(plant: PlantSimulator, truth: dict[str, Any]) -> None:
    """Forbids failures that don't come from wear, and repairs that don't take it away."""
    wear = wear_by_hour(plant, END)
    for failure in truth["failures"]:
        own = wear.filter(
            (pl.col("equipment_id") == failure["equipment_id"])
            & (pl.col("component") == failure["component"])
        )
        before = own.filter(pl.col("hour_at") <= failure["failed_at"])["wear"][-1]
        after = own.filter(pl.col("hour_at") > failure["failed_at"])["wear"]
        assert before > 0.98, failure  # an hour adds at most 1.3 ** 1.3 / 24 / 30 of a life of 30 days
        if len(after):
            assert after[0] == 0.0, failure


def test_failures_are_as_frequent_as_planned(truth: dict[str, Any]) -> None:
    """Forbids a plant with too few failures to learn from, or one that nobody would run.

    One failure per machine in 20 to 25 days gives 96 to 120 in 20 × 120 machine days.
    """
    assert 85 <= len(truth["failures"]) <= 125
    assert {failure["component"] for failure in truth["failures"]} == {each.value for each in Component}
    assert {failure["equipment_id"] for failure in truth["failures"]} == {m.equipment_id for m in FLEET}


def test_signs_begin_days_before_the_failure(truth: dict[str, Any]) -> None:
    """Forbids signs that start minutes or a month ahead: nothing to learn, or a label of everything."""
    leads = [(f["failed_at"] - f["signs_from_at"]) / DAY for f in truth["failures"]]
    within = [lead for lead in leads if 0.8 <= lead <= 6.5]
    assert len(within) >= 0.9 * len(leads)
    assert 1.0 <= float(np.median(leads)) <= 4.0


# The metric that a component pushes most, and the direction.
MAIN_SIGN = {
    "spindle_bearing": ("vibration_mm_s", 1),
    "hydraulic_pump": ("pressure_bar", -1),
    "drive_belt": ("vibration_mm_s", 1),
    "impeller_seal": ("pressure_bar", -1),
    "cooling_fan": ("temperature_c", 1),
}


def test_sensors_show_what_is_about_to_fail(truth: dict[str, Any], readings: pl.DataFrame) -> None:
    """Forbids failures without precursors, and precursors in the wrong metric.

    Last four running hours against the running hours 6 to 20 days before: under no effect half of
    the failures would be above 0 and one in 40 above 2 standard deviations.
    """
    running = readings.filter(pl.col("rotation_rpm") > 0.0)
    shifts: dict[str, list[float]] = {}
    for failure in truth["failures"]:
        if failure["component"] not in MAIN_SIGN:
            continue
        metric, direction = MAIN_SIGN[failure["component"]]
        age = failure["failed_at"] - pl.col("event_at")
        own = running.filter(pl.col("equipment_id") == failure["equipment_id"])
        last = own.filter((age > timedelta(0)) & (age <= DAY))[metric].tail(16)
        base = own.filter((age > 6 * DAY) & (age <= 20 * DAY))[metric]
        if len(last) >= 8 and len(base) >= 200:
            shift = direction * (last.median() - base.median()) / base.std()
            shifts.setdefault(failure["component"], []).append(shift)
    assert set(shifts) == set(MAIN_SIGN)
    for component, values in shifts.items():
        assert float(np.median(values)) > 2.0, (component, sorted(values))


def test_error_codes_precede_many_failures_but_not_all(
    truth: dict[str, Any], history: SimulatedWindow
) -> None:
    """Forbids a rule "an error in 48 h" that needs no model, and codes that mean nothing."""
    codes = history.frames[STATUS].filter(pl.col("error_code").is_not_null())
    codes = codes.unique(["equipment_id", "event_at", "error_code"])
    hits, heralds = 0, pl.lit(value=False)
    for failure in truth["failures"]:
        ahead = (
            (pl.col("equipment_id") == failure["equipment_id"])
            & (pl.col("event_at") < failure["failed_at"])
            & (pl.col("event_at") >= failure["failed_at"] - 2 * DAY)
        )
        hits += codes.filter(ahead).height > 0
        heralds = heralds | ahead | (pl.col("event_at") == failure["failed_at"])
    assert 0.5 <= hits / len(truth["failures"]) <= 0.8
    by_chance = codes.filter(~heralds).height
    assert by_chance >= 0.25 * codes.height


def test_machine_sends_nothing_while_it_lies_failed(truth: dict[str, Any], readings: pl.DataFrame) -> None:
    """Forbids readings of a machine that is in pieces, and failures that stop nothing."""
    for failure in truth["failures"]:
        inside = (
            (pl.col("equipment_id") == failure["equipment_id"])
            & (pl.col("event_at") > failure["failed_at"])
            & (pl.col("event_at") < failure["repaired_at"])
        )
        assert readings.filter(inside).is_empty(), failure


def test_topics_tell_the_failures_of_the_truth(truth: dict[str, Any], history: SimulatedWindow) -> None:
    """Forbids labels that differ from what happened; only messages still on their way may lack."""
    orders = history.frames[MAINTENANCE].unique(["equipment_id", "event_at", "event_type", "component"])
    told = set(
        orders.filter(pl.col("event_type") == "failure")
        .select("equipment_id", "component", "event_at")
        .iter_rows()
    )
    happened = {(f["equipment_id"], f["component"], f["failed_at"]) for f in truth["failures"]}
    assert told <= happened
    assert all(failed_at > END - timedelta(hours=12) for _, _, failed_at in happened - told)


def test_sensor_faults_are_in_the_readings_and_in_the_truth(
    truth: dict[str, Any], readings: pl.DataFrame
) -> None:
    """Forbids fault windows that leave no trace: drift verdicts are scored against them."""
    seen: dict[str, int] = {}
    for fault in truth["sensor_faults"]:
        inside = readings.filter(
            (pl.col("equipment_id") == fault["equipment_id"])
            & pl.col("event_at").is_between(
                datetime.fromisoformat(fault["started_at"]),
                datetime.fromisoformat(fault["ended_at"]),
                closed="left",
            )
        )[fault["metric"]]
        if len(inside) < 8:
            continue
        if fault["kind"] == "stuck":
            assert inside.n_unique() == 1, fault
        if fault["kind"] == "dropout":
            assert inside.null_count() == len(inside), fault
        seen[fault["kind"]] = seen.get(fault["kind"], 0) + 1
    assert set(seen) == {"stuck", "spike", "offset", "dropout"}


def test_plant_rests_at_night_and_on_sundays(readings: pl.DataFrame) -> None:
    """Forbids load without a calendar: machining centres have no night shift and no Sunday."""
    centres = readings.filter(pl.col("equipment_id").str.starts_with("CNC"))
    is_turning = pl.col("rotation_rpm") > 0.0
    night, sunday = pl.col("event_at").dt.hour() < 6, pl.col("event_at").dt.weekday() == 7
    # A sensor that is stuck or jumps shows a turning spindle on a few readings.
    assert centres.filter(night | sunday).select(is_turning.mean()).item() < 0.02
    workday = (pl.col("event_at").dt.hour().is_between(6, 21)) & (pl.col("event_at").dt.weekday() <= 5)
    assert centres.filter(workday).select(is_turning.mean()).item() > 0.9


def test_conveyors_have_no_pressure_sensor(readings: pl.DataFrame) -> None:
    """Forbids readings of sensors that the model does not carry."""
    by_machine = readings.group_by("equipment_id").agg(pl.col("pressure_bar").count())
    without = set(by_machine.filter(pl.col("pressure_bar") == 0)["equipment_id"])
    assert without == {f"CNV-C-{number}" for number in (301, 302, 303, 304)}
