"""Status changes, error codes and work orders of one day, made from the plant's life.

Add an event here when a controller or a technician would report it. Avoid deciding what happens:
that is in `life` and `faults`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from orchestration.ingest.simulators.clock import DAY_S, SLOT_S, SLOTS_PER_DAY, SLOTS_PER_HOUR, Ints
from orchestration.ingest.simulators.draws import draw_day
from orchestration.ingest.simulators.faults import FaultKind, faults_of
from orchestration.ingest.simulators.fleet import COMPONENTS, FLEET, Component, MachineModel
from orchestration.ingest.simulators.life import Failure, PlantLife, Service

# Error codes per running hour: from a component at the very end of its life, and by chance.
_CODES_OF_DECAY = 0.35
_CODES_BY_CHANCE = 1.0 / (24 * 10)
_FIRST_CODE_SHARE = 0.7

_IDLE, _RUNNING, _FAILED = 0, 1, 2


@dataclass(frozen=True)
class StatusChange:
    """One message of `equipment-status`; `at_s` is in seconds of plant time."""

    machine: int
    at_s: int
    status: str
    error_code: str | None
    operating_hours_h: float


@dataclass(frozen=True)
class WorkOrder:
    """One message of `maintenance-events`; `at_s` is in seconds of plant time."""

    machine: int
    at_s: int
    event_type: str
    component: str | None = None
    description: str | None = None
    downtime_h: float | None = None
    technician_id: str | None = None
    plant_id: str | None = None
    equipment_name: str | None = None
    equipment_model: str | None = None
    age_years: float | None = None
    firmware_version: str | None = None


def status_changes(seed: int, life: PlantLife, day: int) -> list[StatusChange]:
    """What the controllers report on a day: changes of state, error codes, stops by failure."""
    today = life.day(day)
    states, before = _states(life, day), _states(life, day - 1)[:, -1:]
    # Hour counters at the start of each slot, and at the day's end.
    ran = np.cumsum(today.load > 0.0, axis=1) / SLOTS_PER_HOUR
    counters = np.concatenate([np.zeros_like(ran[:, :1]), ran], axis=1) + today.hours_run[:, None]

    def change(machine: int, at_s: int, status: str, code: str | None = None) -> StatusChange:
        slot = min(max((at_s - day * DAY_S) // SLOT_S, 0), SLOTS_PER_DAY)
        return StatusChange(machine, at_s, status, code, round(float(counters[machine, slot]), 2))

    changes: list[StatusChange] = []
    turned = states != np.concatenate([before, states[:, :-1]], axis=1)
    for machine, slot in np.argwhere(turned & (states != _FAILED)):
        status = "running" if states[machine, slot] == _RUNNING else "idle"
        changes.append(change(int(machine), day * DAY_S + int(slot) * SLOT_S, status))
    stops = [failure for failure in life.failures if failure.started_at_s // DAY_S == day]
    changes += [
        change(stop.machine, stop.started_at_s, "error", _code_of(stop.machine, stop.component))
        for stop in stops
    ]
    for machine, at_s, code, stands_s in _codes(seed, life, day, states):
        changes.append(change(machine, at_s, "error", code))
        back = at_s + stands_s
        slot = (back - day * DAY_S) // SLOT_S
        fails = any(stop.machine == machine and at_s <= stop.started_at_s <= back for stop in stops)
        if slot < SLOTS_PER_DAY and states[machine, slot] == _RUNNING and not fails:
            changes.append(change(machine, back, "running"))
    return sorted(changes, key=lambda each: (each.at_s, each.machine, each.status, each.error_code or ""))


def _states(life: PlantLife, day: int) -> Ints:
    """State of every machine in every slot: (n, 96)."""
    today = life.day(day)
    return np.where(today.is_failed, _FAILED, np.where(today.load > 0.0, _RUNNING, _IDLE))


def _code_of(machine: int, component: Component) -> str:
    return FLEET[machine].model.error_codes[component][0]


def _codes(seed: int, life: PlantLife, day: int, states: Ints) -> Iterator[tuple[int, int, str, int]]:
    """Error codes of a day that don't stop the machine: machine, second, code, seconds until it clears."""
    draws, noticed = draw_day(seed, day), life.day(day).noticed
    chance = np.full((len(FLEET), 1, 24), _CODES_BY_CHANCE)
    odds = np.concatenate([_CODES_OF_DECAY * noticed**3, chance], axis=1)
    for machine, cause, hour in np.argwhere(draws.code < odds):
        moment, pick, stands = (float(value) for value in draws.code_moment[machine, cause, hour])
        second = int(hour) * 3600 + int(moment * 3600)
        if states[machine, second // SLOT_S] == _RUNNING:
            code = _pick_code(FLEET[int(machine)].model, int(cause), pick)
            yield int(machine), day * DAY_S + second, code, 60 + int(stands * 540)
    for fault in faults_of(seed, day):
        slot = fault.started_at_s // SLOT_S - day * SLOTS_PER_DAY
        if fault.kind is FaultKind.DROPOUT and states[fault.machine, slot] == _RUNNING:
            yield fault.machine, fault.started_at_s + 60, "E502", 300


def _pick_code(model: MachineModel, cause: int, pick: float) -> str:
    if cause < len(COMPONENTS):
        codes = model.error_codes[COMPONENTS[cause]]
        return codes[0] if pick < _FIRST_CODE_SHARE else codes[-1]
    codes = sorted({code for codes in model.error_codes.values() for code in codes})
    return codes[int(pick * len(codes))]


def work_orders(life: PlantLife, day: int) -> list[WorkOrder]:
    """What is written down about the machines on a day; on the first day also their registration."""
    life.day(day)
    orders = [_registered(machine) for machine in range(len(FLEET))] if day == 0 else []
    for failure in life.failures:
        if failure.started_at_s // DAY_S == day:
            orders.append(_failed(failure))
        if failure.ended_at_s // DAY_S == day:
            orders.append(_repaired(failure))
    for service in life.services:
        if service.ended_at_s // DAY_S == day:
            orders.extend(_serviced(service))
    return sorted(orders, key=lambda each: (each.at_s, each.machine, each.event_type, each.component or ""))


def _technician(number: int) -> str:
    return f"TEC-{number + 1:02d}"


def _registered(machine: int) -> WorkOrder:
    registered = FLEET[machine]
    return WorkOrder(
        machine=machine,
        at_s=0,
        event_type="registration",
        plant_id=registered.plant_id,
        equipment_name=registered.equipment_name,
        equipment_model=registered.model.name,
        age_years=registered.age_years,
        firmware_version=registered.model.firmware_version,
    )


def _words(component: Component) -> str:
    return component.value.replace("_", " ")


def _failed(failure: Failure) -> WorkOrder:
    return WorkOrder(
        machine=failure.machine,
        at_s=failure.started_at_s,
        event_type="failure",
        component=failure.component.value,
        description=f"Machine stopped: {_words(failure.component)} failed.",
    )


def _repaired(failure: Failure) -> WorkOrder:
    hours = (failure.ended_at_s - failure.started_at_s) / 3600.0
    return WorkOrder(
        machine=failure.machine,
        at_s=failure.ended_at_s,
        event_type="component_replacement",
        component=failure.component.value,
        description=f"Replaced the {_words(failure.component)} after its failure.",
        downtime_h=round(hours, 2),
        technician_id=_technician(failure.technician),
    )


def _serviced(service: Service) -> Iterator[WorkOrder]:
    hours = round((service.ended_at_s - service.started_at_s) / 3600.0, 2)
    update = f" Firmware updated to {service.firmware_version}." if service.firmware_version else ""
    yield WorkOrder(
        machine=service.machine,
        at_s=service.ended_at_s,
        event_type="maintenance",
        description=f"Scheduled service: inspected and lubricated.{update}",
        downtime_h=hours,
        technician_id=_technician(service.technician),
        firmware_version=service.firmware_version,
    )
    for component in service.replaced:
        yield WorkOrder(
            machine=service.machine,
            at_s=service.ended_at_s,
            event_type="component_replacement",
            component=component.value,
            description=f"Replaced the worn {_words(component)} during the scheduled service.",
            downtime_h=hours,
            technician_id=_technician(service.technician),
        )
