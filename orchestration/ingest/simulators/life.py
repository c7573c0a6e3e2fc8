"""The plant's life from inside: who carried which load, what failed, what was repaired and serviced.

The one part of the simulator that carries state from day to day. `PlantLife` marches hour by hour
from the start of plant time (under a millisecond per day) and keeps what it found, so that every
window reads the same past. Avoid readings and messages here: they are made from what this says.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from orchestration.ingest.simulators import schedule
from orchestration.ingest.simulators.clock import (
    DAY_S,
    PLANT_START,
    SLOT_S,
    SLOTS_PER_DAY,
    SLOTS_PER_HOUR,
    Bools,
    Floats,
    Ints,
)
from orchestration.ingest.simulators.draws import draw_service
from orchestration.ingest.simulators.fleet import COMPONENTS, FLEET, Component
from orchestration.ingest.simulators.wear import ComponentWear

TECHNICIANS = 8
_SERVICE_HOUR = 6
_SERVICE_EVERY_DAYS = 28.0
_FIRMWARE_FROM_DAY = 56  # HX-500 controllers get 4.2 with their first service after this day
_FIRMWARE = {"HX-500": "4.2"}


@dataclass(frozen=True)
class Failure:
    """One failure; instants are seconds of plant time, `onset_s` is when its signs began."""

    machine: int
    component: Component
    onset_s: int
    started_at_s: int
    ended_at_s: int
    has_codes: bool
    gain: float
    technician: int


@dataclass(frozen=True)
class Service:
    """One scheduled visit and the components that it replaced."""

    machine: int
    started_at_s: int
    ended_at_s: int
    replaced: tuple[Component, ...]
    firmware_version: str | None
    technician: int


@dataclass(frozen=True)
class DayLife:
    """What one day looked like from inside; n machines, c components.

    Attributes:
        load: Load that was carried, 0 while waiting or standing: (n, 96).
        is_planned: Slots in which production was planned: (n, 96).
        is_failed: Slots between a failure and the end of its repair: (n, 96).
        is_serviced: Slots of scheduled visits: (n, 96).
        wear: Share of life used at the start of each hour, 1 is failure: (n, c, 24).
        signs: Strength of the signs at the start of each hour, 0 to gain: (n, c, 24).
        noticed: Progress of those signs that the controller notices, 0 to 1: (n, c, 24).
        hours_run: Hour counters at the start of the day: (n,).
    """

    load: Floats
    is_planned: Bools
    is_failed: Bools
    is_serviced: Bools
    wear: Floats
    signs: Floats
    noticed: Floats
    hours_run: Floats


class PlantLife:
    """The lives of all machines under one seed.

    Attributes:
        failures: Every failure of the days marched so far, by time.
        services: Every visit of the days marched so far, by time.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._components = ComponentWear(seed)
        self._stands_until: Ints = np.zeros(len(FLEET), dtype=np.int64)
        self._hours_run: Floats = np.array([machine.age_years * 3500.0 for machine in FLEET])
        self._visits = [0] * len(FLEET)
        first_visits = [
            5.0 + 23.0 * float(draw_service(seed, machine, 0)[0]) for machine in range(len(FLEET))
        ]
        self._next_visit: Ints = (np.array(first_visits) * DAY_S).astype(np.int64)
        self._updated: set[int] = set()
        self._days: list[DayLife] = []
        self.failures: list[Failure] = []
        self.services: list[Service] = []

    def day(self, day: int) -> DayLife:
        """What happened on a day; a day before the start of plant time is a standstill."""
        if day < 0:
            return self._standstill()
        while len(self._days) <= day:
            self._days.append(self._march(len(self._days)))
        return self._days[day]

    def _standstill(self) -> DayLife:
        slots = np.zeros((len(FLEET), SLOTS_PER_DAY))
        hours = np.zeros((len(FLEET), len(COMPONENTS), 24))
        none = slots.astype(bool)
        return DayLife(slots, none, none, none, hours, hours, hours, self._hours_run)

    def _march(self, day: int) -> DayLife:
        possible = schedule.load(self._seed, day)
        hall, _ = schedule.climate(self._seed, day)
        heat = 1.0 + 0.01 * (hall[schedule.hall_of_machines()] - 20.0)
        by_hour = (len(FLEET), len(COMPONENTS), 24)
        wear, signs, noticed = np.zeros(by_hour), np.zeros(by_hour), np.zeros(by_hour)
        is_workday = (PLANT_START + timedelta(days=day)).weekday() < 5
        for hour in range(24):
            start_s = day * DAY_S + hour * 3600
            slots = slice(hour * SLOTS_PER_HOUR, (hour + 1) * SLOTS_PER_HOUR)
            if hour == _SERVICE_HOUR and is_workday:
                self._visit(start_s)
            wear[:, :, hour] = self._components.share_of_life()
            signs[:, :, hour], noticed[:, :, hour] = self._components.signs(start_s)
            stands = np.clip((self._stands_until - start_s) / 3600.0, 0.0, 1.0)
            failed = self._components.advance(
                load=possible[:, slots].mean(axis=1), heat=heat[:, slots].mean(axis=1), hours=1.0 - stands
            )
            for machine, (component, passed) in failed.items():
                self._fail(machine, component, start_s, passed, possible[machine, slots])
        is_failed, is_serviced = _slots_of(day, self.failures), _slots_of(day, self.services)
        load = np.where(is_failed | is_serviced, 0.0, possible)
        hours_run = self._hours_run
        self._hours_run = hours_run + (load > 0.0).sum(axis=1) / SLOTS_PER_HOUR
        is_planned = schedule.planned_share(day) > 0.0
        return DayLife(load, is_planned, is_failed, is_serviced, wear, signs, noticed, hours_run)

    def _fail(self, machine: int, component: int, hour_s: int, passed: float, load: Floats) -> None:
        """Record a failure within the hour, at a moment in which the machine was running."""
        running = np.flatnonzero(load > 0.0)
        moment = min(passed, 0.999) * len(running)
        into_hour = int((int(running[int(moment)]) + moment % 1.0) * SLOT_S)
        failed_at = max(hour_s + into_hour, int(self._stands_until[machine]) + 1)
        draws = self._components.cycle(machine, component)
        onset = self._components.onset_s(machine, component)
        repaired_at = failed_at + int(draws.repair_h * 3600)
        self.failures.append(
            Failure(
                machine=machine,
                component=COMPONENTS[component],
                onset_s=failed_at if onset is None else onset,
                started_at_s=failed_at,
                ended_at_s=repaired_at,
                has_codes=draws.has_codes,
                gain=draws.gain,
                technician=int(draws.worn * TECHNICIANS),
            )
        )
        self._stands_until[machine] = repaired_at
        self._components.replace(machine, component)

    def _visit(self, start_s: int) -> None:
        """Service every machine that is due and up; half of what already shows is found and replaced."""
        progress = self._components.progress_of_signs()
        for index in np.flatnonzero((self._next_visit <= start_s) & (self._stands_until <= start_s)):
            machine = int(index)
            self._visits[machine] += 1
            draws = draw_service(self._seed, machine, self._visits[machine])
            found = [int(c) for c in np.flatnonzero((progress[machine] > 0.25) & (draws[3:] < 0.5))]
            for component in found:
                self._components.replace(machine, component)
            self._components.lubricate(machine)
            ended_at = start_s + int((2.0 + 2.0 * draws[1]) * 3600)
            self.services.append(
                Service(
                    machine=machine,
                    started_at_s=start_s,
                    ended_at_s=ended_at,
                    replaced=tuple(COMPONENTS[component] for component in found),
                    firmware_version=self._firmware(machine, start_s),
                    technician=int(draws[2] * TECHNICIANS),
                )
            )
            self._stands_until[machine] = ended_at
            self._next_visit[machine] = start_s + int((_SERVICE_EVERY_DAYS + 8.0 * (draws[0] - 0.5)) * DAY_S)

    def _firmware(self, machine: int, start_s: int) -> str | None:
        """Version that this visit installs, None where there is nothing newer."""
        version = _FIRMWARE.get(FLEET[machine].model.name)
        if version is None or machine in self._updated or start_s < _FIRMWARE_FROM_DAY * DAY_S:
            return None
        self._updated.add(machine)
        return version


def _slots_of(day: int, standstills: list[Failure] | list[Service]) -> Bools:
    """Slots of a day that start within a standstill: (n, 96)."""
    starts = day * DAY_S + np.arange(SLOTS_PER_DAY) * SLOT_S
    mask = np.zeros((len(FLEET), SLOTS_PER_DAY), dtype=bool)
    for stand in standstills:
        if stand.ended_at_s > day * DAY_S:
            mask[stand.machine] |= (starts >= stand.started_at_s) & (starts < stand.ended_at_s)
    return mask
