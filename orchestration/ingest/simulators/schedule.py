"""What the plant plans and what surrounds it: shifts, load, hall temperature and humidity.

Add calendar rules here. Avoid what machines do to themselves (wear, repairs): that is in `wear`.
"""

from datetime import timedelta

import numpy as np

from orchestration.ingest.simulators.clock import (
    PLANT_START,
    SLOT_S,
    SLOTS_PER_DAY,
    SLOTS_PER_HOUR,
    Bools,
    Floats,
)
from orchestration.ingest.simulators.draws import draw_day, interpolate_knots
from orchestration.ingest.simulators.fleet import FLEET, PLANTS

# Load by model: weekday early shift (6–14), late (14–22), night (22–6), Saturday early, other weekend.
_SHIFTS = {
    "HX-500": (1.0, 0.92, 0.0, 0.75, 0.0),
    "HP-300": (1.0, 0.95, 0.70, 0.80, 0.0),
    "CV-120": (1.0, 0.95, 0.72, 0.80, 0.0),
    "CP-80": (1.0, 0.95, 0.80, 0.85, 0.40),
}
_STOPS_PER_DAY = 0.3

# Hall climate: mean, seasonal swing, daily swing in kelvin.
_CLIMATE = {"plant-north": (19.5, 2.5, 2.0), "plant-south": (22.5, 3.0, 2.5)}


def planned_share(day: int) -> Floats:
    """Planned load of every machine in every slot of a day, 0 to 1: (n, 96)."""
    weekday = (PLANT_START + timedelta(days=day)).weekday()
    hours = np.arange(SLOTS_PER_DAY) // SLOTS_PER_HOUR
    early, late = (hours >= 6) & (hours < 14), (hours >= 14) & (hours < 22)
    rows: list[Floats] = []
    for machine in FLEET:
        first, second, night, saturday, rest = _SHIFTS[machine.model.name]
        if weekday < 5:
            rows.append(np.where(early, first, np.where(late, second, night)))
        else:
            rows.append(np.where(early & (weekday == 5), saturday, rest))
    return np.stack(rows)


def load(seed: int, day: int) -> Floats:
    """Load that each machine would carry if nothing broke: (n, 96), 0 where it stands."""
    draws = draw_day(seed, day)
    varied = planned_share(day) * (1.0 + 0.07 * draws.order_mix[:, None]) * (1.0 + 0.05 * draws.load_noise)
    return np.where(_waits(draws.stop), 0.0, np.clip(varied, 0.0, 1.2))


def _waits(stop: Floats) -> Bools:
    """Slots in which a machine waits for material: at most one wait of 30 to 180 minutes a day."""
    slots = np.arange(SLOTS_PER_DAY)
    first = (stop[:, 1] * SLOTS_PER_DAY).astype(np.int64)
    length = 2 + (stop[:, 2] * 11).astype(np.int64)
    inside = (slots >= first[:, None]) & (slots < (first + length)[:, None])
    return inside & (stop[:, 0] < _STOPS_PER_DAY)[:, None]


def climate(seed: int, day: int) -> tuple[Floats, Floats]:
    """Hall temperature in degC and relative humidity in % by plant: two arrays (plants, 96)."""
    weather = interpolate_knots(draw_day(seed, day).weather, draw_day(seed, day + 1).weather)
    day_of_year = (PLANT_START + timedelta(days=day)).timetuple().tm_yday
    season = np.cos(2.0 * np.pi * (day_of_year - 200) / 365.25)  # warmest on 19 July
    hour = np.arange(SLOTS_PER_DAY) * SLOT_S / 3600.0
    daily = np.cos(2.0 * np.pi * (hour - 15.0) / 24.0)  # warmest at 15:00
    rows = [_CLIMATE[plant] for plant in PLANTS]
    mean, yearly, swing = (np.array(part)[:, None] for part in zip(*rows, strict=True))
    temperature = mean + yearly * season + swing * daily + 1.2 * weather
    humidity = np.clip(50.0 - 1.1 * (temperature - 20.0) + 9.0 * weather[::-1], 15.0, 92.0)
    return temperature, humidity


def hall_of_machines() -> list[int]:
    """Index into `PLANTS` for each machine."""
    return [PLANTS.index(machine.plant_id) for machine in FLEET]
