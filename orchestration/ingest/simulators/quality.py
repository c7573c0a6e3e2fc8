"""Inspections of the machines that make parts: class, counts and the conditions of production.

The class follows from how the machine ran (temperature, vibration, pressure against its model's
nominal values), the material, the hall and the operator's experience, with a little chance: a model
that joins the period's readings can learn it. Add an influence in `_strain`. Avoid sensor faults:
parts are made by the machine, not by its sensor.
"""

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from orchestration.ingest.simulators import schedule
from orchestration.ingest.simulators.clock import DAY_S, PLANT_START, SLOT_S, SLOTS_PER_DAY, Floats, Ints
from orchestration.ingest.simulators.draws import inspection_rng
from orchestration.ingest.simulators.fleet import FLEET
from orchestration.ingest.simulators.life import PlantLife
from orchestration.ingest.simulators.signals import nominal_readings

PERIOD_H = 2
_PERIOD_SLOTS = PERIOD_H * 3600 // SLOT_S
_PERIODS = SLOTS_PER_DAY // _PERIOD_SLOTS
_SHORTEST_RUN_SLOTS = 2
_LONGEST_CARRY_DAYS = 4  # planned time without production is carried on at most this long

CLASSES = ("Good Quality", "Minor Defect", "Major Defect", "Reject")
# Strain above which a lot falls into the next class: gives about 70, 17, 9 and 4 % of the lots.
_CLASS_LIMITS: Floats = np.array([2.1, 2.9, 3.9])
_DEFECT_SHARE: Floats = np.array([0.004, 0.04, 0.12, 0.30])
DEFECT_TYPES = ("dimensional_deviation", "surface_roughness", "crack", "thermal_distortion", "porosity")
MATERIAL_GRADES = ("A", "B", "C")
_GRADE_STRAIN: Floats = np.array([0.0, 0.9, 2.2])
_CHANCE = 0.05
_OPERATORS = 18
_SAMPLE = 50


def inspections(seed: int, life: PlantLife, day: int, true: Floats) -> dict[str, pl.Series]:
    """Inspections at the end of each two hours in which a machine ran for at least half an hour.

    Args:
        seed: Seed of the plant.
        life: The plant's life.
        day: The day.
        true: True readings of the day, (n, metrics, 96).

    Returns:
        The contract's own columns, and `machine` and `at_s` (seconds of plant time) of each row.
    """
    today = life.day(day)
    rng = inspection_rng(seed, day)
    shape = (len(FLEET), _PERIODS)
    grade = rng.choice(len(MATERIAL_GRADES), size=shape, p=(0.6, 0.3, 0.1))
    chance, micro_stops = rng.standard_normal(shape), rng.random(shape)
    pace, defects = rng.random(shape), rng.random(shape)

    is_running = today.load > 0.0
    slots: Ints = _by_period(is_running).sum(axis=-1)
    makes_parts = np.array([bool(machine.model.cycle_s) for machine in FLEET])
    machine, period = np.nonzero((slots >= _SHORTEST_RUN_SLOTS) & makes_parts[:, None])
    at = machine, period
    # Where nothing ran there is no row; the 1 only keeps the division quiet.
    count = np.maximum(slots, 1)
    load = (_by_period(today.load).sum(axis=-1) / count)[at]
    while_running = np.where(is_running[:, None, :], true, 0.0)
    means = (_by_period(while_running).sum(axis=-1) / count[:, None, :])[machine, :, period]

    hall, humidity = (values[schedule.hall_of_machines()] for values in schedule.climate(seed, day))
    ambient, moisture = (_by_period(values).mean(axis=-1)[at] for values in (hall, humidity))
    operator = _operators(machine, day, period)
    years = operator_experience(operator)
    parts = _strain(means / nominal_readings()[machine], means[:, 0], machine, ambient, moisture, years)
    parts[:, DEFECT_TYPES.index("porosity")] += _GRADE_STRAIN[grade[at]]
    strain: Floats = parts.sum(axis=1) + _CHANCE * chance[at]
    rank = _CLASS_LIMITS.searchsorted(strain)

    product, cycle_s = _products(machine, day)
    run_s: Floats = (slots[at] * SLOT_S * (1.0 - 0.04 * micro_stops[at])).round(1)
    speed: Floats = np.minimum(0.86 + 0.10 * load + 0.03 * pace[at], 1.0)
    produced: Ints = (run_s * speed / cycle_s).astype(np.int64)
    inspected: Ints = np.minimum(produced, _SAMPLE)
    share: Floats = _DEFECT_SHARE[rank] * (0.5 + defects[at])
    found: Ints = np.maximum(np.round(inspected * share), rank > 0).astype(np.int64)
    worst = pl.Series(DEFECT_TYPES).gather(parts.argmax(axis=1))
    return {
        "machine": pl.Series(machine),
        "at_s": pl.Series(day * DAY_S + (period + 1) * _PERIOD_SLOTS * SLOT_S),
        "quality_class": pl.Series(CLASSES).gather(rank),
        "defect_type": worst.set(pl.Series(rank == 0), None),
        "product_code": product,
        "material_grade": pl.Series(MATERIAL_GRADES).gather(grade[at]),
        "inspected_count": pl.Series(inspected, dtype=pl.Int32),
        "defect_count": pl.Series(found, dtype=pl.Int32),
        "produced_count": pl.Series(produced, dtype=pl.Int32),
        "ideal_cycle_s": pl.Series(cycle_s),
        "planned_run_s": pl.Series(_planned_since_inspection(life, day)[at]),
        "run_s": pl.Series(run_s),
        "ambient_temperature_c": pl.Series(ambient.round(2)),
        "humidity_percent": pl.Series(moisture.round(1)),
        "operator_id": pl.Series([f"OP-{number + 1:02d}" for number in operator.tolist()], dtype=pl.String),
        "operator_experience_years": pl.Series(years),
    }


def operator_experience(operator: Ints) -> Floats:
    """Years of experience of operators by number, half a year to 24."""
    return np.round(0.5 + 23.5 * ((operator * 7) % _OPERATORS) / (_OPERATORS - 1), 1)


def _operators(machine: Ints, day: int, period: Ints) -> Ints:
    """Operators keep a machine and shift for a week."""
    week = (PLANT_START + timedelta(days=day)).isocalendar().week
    return (machine * 5 + period // 4 * 7 + week * 11) % _OPERATORS


def _products(machine: Ints, day: int) -> tuple[pl.Series, Floats]:
    """Product of each row and its ideal seconds per unit; a machine changes its product daily."""
    choices = [sorted(each.model.cycle_s.items()) or [("", np.nan)] for each in FLEET]
    today = [choice[(index + day) % len(choice)] for index, choice in enumerate(choices)]
    codes = pl.Series([code for code, _ in today]).gather(machine)
    return codes, np.array([seconds for _, seconds in today])[machine]


def _by_period(slots: NDArray[Any]) -> NDArray[Any]:
    """Split the last axis into periods: (…, 96) to (…, 12, 8)."""
    return slots.reshape(*slots.shape[:-1], -1, _PERIOD_SLOTS)


def _strain(
    relative: Floats, temperature: Floats, machine: Ints, ambient: Floats, moisture: Floats, years: Floats
) -> Floats:
    """What pushed each lot away from good, by the defect that it would cause: (rows, defect types)."""
    hot = np.maximum((temperature - nominal_readings()[machine, 0]) / 10.0, 0.0)
    shaking = np.maximum((relative[:, 1] - 0.9) / 0.35, 0.0)
    weak = np.maximum((0.99 - relative[:, 2]) / 0.05, 0.0)
    climate = np.maximum(ambient - 24.0, 0.0) / 4.0 + np.maximum(16.0 - ambient, 0.0) / 4.0
    causes = {
        "thermal_distortion": hot + climate,
        "surface_roughness": shaking,
        "dimensional_deviation": weak + 1.8 * np.exp(-years / 3.0),
        "porosity": np.maximum(moisture - 60.0, 0.0) / 15.0,
        "crack": 0.8 * shaking * hot,
    }
    return np.stack([causes[name] for name in DEFECT_TYPES], axis=1)


def _planned_since_inspection(life: PlantLife, day: int) -> Floats:
    """Planned production seconds since the previous inspection at the end of each period: (n, 12).

    Repairs and waits fall into the next inspection's planned time, so that availability sees them.
    """
    days = range(day - _LONGEST_CARRY_DAYS, day + 1)
    planned = np.concatenate([life.day(each).is_planned for each in days], axis=1)
    running = np.concatenate([life.day(each).load > 0.0 for each in days], axis=1)
    by_period = _by_period(planned).sum(axis=-1) * float(SLOT_S)
    is_inspected = _by_period(running).sum(axis=-1) >= _SHORTEST_RUN_SLOTS
    carried = np.zeros_like(by_period)
    carry = np.zeros(len(FLEET))
    for period in range(by_period.shape[1]):
        carry = carry + by_period[:, period]
        carried[:, period] = carry
        carry = np.where(is_inspected[:, period], 0.0, carry)
    return carried[:, -_PERIODS:]
