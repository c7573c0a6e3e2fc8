"""True readings: what fault-free sensors would show, from load, hall, wear and each machine's temper.

Temperature follows load with a lag of hours; vibration and power follow at once; a decaying component
pushes its own metrics (`fleet.SIGNS`). Avoid sensor faults: those are in `faults`.
"""

from functools import lru_cache

import numpy as np

from orchestration.ingest.simulators import schedule
from orchestration.ingest.simulators.clock import SLOTS_PER_DAY, SLOTS_PER_HOUR, Floats
from orchestration.ingest.simulators.draws import draw_day, draw_machines, interpolate_knots
from orchestration.ingest.simulators.fleet import COMPONENTS, FLEET, METRICS, SIGNS
from orchestration.ingest.simulators.life import PlantLife

# Spread of each metric: between machines of a model, slow wander, reading to reading. Temperature in
# kelvin, the others relative.
_BETWEEN_MACHINES = np.array([2.0, 0.10, 0.015, 0.005, 0.04])
_WANDER = np.array([1.2, 0.06, 0.012, 0.004, 0.03])
READING_NOISE = np.array([0.7, 0.07, 0.008, 0.003, 0.025])

_LAG_TAPS = 16  # 4 hours; what is older weighs less than 2 % together
_LAG: Floats = np.exp(-np.arange(_LAG_TAPS) / 4.0) / np.exp(-np.arange(_LAG_TAPS) / 4.0).sum()
_EFFECTS: Floats = np.array([SIGNS[component].of_metrics() for component in COMPONENTS])


def _nominal(metric: int) -> Floats:
    """Nominal value at full load by machine, NaN without a sensor: (n, 1)."""
    values = [machine.model.nominal[metric - 1] for machine in FLEET]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)[:, None]


@lru_cache(maxsize=1)
def nominal_readings() -> Floats:
    """Full-load value of each metric by machine, at 20 degC in the hall: (n, metrics)."""
    rise = np.array([[machine.model.temperature_rise_c] for machine in FLEET])
    return np.concatenate([20.0 + rise, *(_nominal(metric) for metric in range(1, len(METRICS)))], axis=1)


def readings(seed: int, life: PlantLife, day: int) -> Floats:
    """Readings of all metrics at all slots of a day: (n, metrics, 96), NaN without a sensor.

    Slots in which a machine stands are filled too (a faulty sensor may hold such a value);
    whoever sends readings leaves them out.
    """
    today, yesterday = life.day(day), life.day(day - 1)
    draws = draw_day(seed, day)
    hall, _ = schedule.climate(seed, day)
    ambient = hall[schedule.hall_of_machines()]
    lagged = _lagged(np.concatenate([yesterday.load, today.load], axis=1))
    signs = np.repeat(today.signs, SLOTS_PER_HOUR, axis=2)
    pushed = (signs[:, :, None, :] * _EFFECTS[None, :, :, None]).sum(axis=1)
    temper = draw_machines(seed) * _BETWEEN_MACHINES
    wander = interpolate_knots(draws.process, draw_day(seed, day + 1).process) * _WANDER[:, None]
    disturbance = temper[:, :, None] + wander + draws.noise * READING_NOISE[:, None]
    factor = np.maximum(1.0 + disturbance + pushed, 0.0)

    load, is_turning = today.load, today.load > 0.0
    rise = nominal_readings()[:, :1] - 20.0
    temperature = (
        ambient + 2.0 + rise * lagged + np.where(lagged > 0.1, pushed[:, 0], 0.0) + disturbance[:, 0]
    )
    age = 1.0 + 0.12 * np.repeat(today.wear.max(axis=1), SLOTS_PER_HOUR, axis=1)
    vibration = _nominal(1) * np.where(is_turning, 0.30 + 0.70 * load, 0.06) * age * factor[:, 1]
    pressure = _nominal(2) * np.where(is_turning, 0.96 + 0.04 * load, 0.40) * factor[:, 2]
    rotation = _nominal(3) * np.where(is_turning, 0.70 + 0.30 * load, 0.0) * factor[:, 3]
    power = _nominal(4) * np.where(is_turning, 0.18 + 0.82 * load, 0.05) * factor[:, 4]
    return np.stack([temperature, vibration, pressure, rotation, power], axis=1)


def _lagged(load: Floats) -> Floats:
    """Load of the last four hours, the latest weighing most: (n, 192) to (n, 96)."""
    lagged = np.zeros((load.shape[0], SLOTS_PER_DAY))
    for tap, weight in enumerate(_LAG):
        lagged += weight * load[:, SLOTS_PER_DAY - tap : 2 * SLOTS_PER_DAY - tap]
    return lagged
