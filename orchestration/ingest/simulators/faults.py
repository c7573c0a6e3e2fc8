"""Sensor faults: windows in which a sensor sticks, jumps, is offset or falls silent.

The machine is fine; its reading is not. Add a kind here and in `FaultKind`. Avoid machine failures.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from orchestration.ingest.simulators.clock import SLOT_S, SLOTS_PER_DAY, Floats
from orchestration.ingest.simulators.draws import draw_day
from orchestration.ingest.simulators.fleet import FLEET, METRICS
from orchestration.ingest.simulators.signals import nominal_readings

FAULTS_PER_MACHINE_DAY = 0.02
LONGEST_DAYS = 2
_SHORTEST_SLOTS = 8
_SPIKE_SHARE = 0.10
# Size of an offset or spike relative to the full-load value: far outside a sensor's noise.
_OFFSET, _SPIKE = 0.35, 0.9


class FaultKind(StrEnum):
    """How a sensor fails."""

    STUCK = "stuck"
    SPIKE = "spike"
    OFFSET = "offset"
    DROPOUT = "dropout"


@dataclass(frozen=True)
class SensorFault:
    """One faulty sensor; instants are seconds of plant time, `ended_at_s` is the first good reading."""

    machine: int
    metric: str
    kind: FaultKind
    started_at_s: int
    ended_at_s: int


def faults_of(seed: int, day: int) -> list[SensorFault]:
    """Faults that begin on a day; at most one per machine, none before the start of plant time."""
    if day < 0:
        return []
    draws = draw_day(seed, day).fault
    kinds = tuple(FaultKind)
    found: list[SensorFault] = []
    for index in np.flatnonzero(draws[:, 0] < FAULTS_PER_MACHINE_DAY):
        machine = int(index)
        _, kind, metric, start, length = (float(value) for value in draws[machine])
        metrics = [name for name in METRICS if name != "pressure_bar" or FLEET[machine].model.has_pressure]
        first = day * SLOTS_PER_DAY + int(start * SLOTS_PER_DAY)
        slots = _SHORTEST_SLOTS + int(length * (LONGEST_DAYS * SLOTS_PER_DAY - _SHORTEST_SLOTS))
        found.append(
            SensorFault(
                machine=machine,
                metric=metrics[int(metric * len(metrics))],
                kind=kinds[int(kind * len(kinds))],
                started_at_s=first * SLOT_S,
                ended_at_s=(first + slots) * SLOT_S,
            )
        )
    return found


def with_faults(seed: int, day: int, true: dict[int, Floats]) -> Floats:
    """Readings of a day as the sensors report them: (n, metrics, 96), NaN where silent.

    Args:
        seed: Seed of the plant.
        day: The day.
        true: True readings by day, for the day and the `LONGEST_DAYS` before it.
    """
    reported = true[day].copy()
    for earlier in range(LONGEST_DAYS, -1, -1):
        begun = day - earlier
        for fault in faults_of(seed, begun):
            _apply(fault, seed, day, true[begun], reported)
    return reported


def _apply(fault: SensorFault, seed: int, day: int, true_at_start: Floats, reported: Floats) -> None:
    metric = METRICS.index(fault.metric)
    offset = day * SLOTS_PER_DAY
    first = fault.started_at_s // SLOT_S - offset
    slots = slice(max(first, 0), max(fault.ended_at_s // SLOT_S - offset, 0))
    series = reported[fault.machine, metric]
    begun = fault.started_at_s // (SLOTS_PER_DAY * SLOT_S)
    sizes = draw_day(seed, begun).fault_size[fault.machine]
    scale = float(nominal_readings()[fault.machine, metric])
    match fault.kind:
        case FaultKind.STUCK:
            series[slots] = true_at_start[fault.machine, metric, first % SLOTS_PER_DAY]
        case FaultKind.DROPOUT:
            series[slots] = np.nan
        case FaultKind.OFFSET:
            shift = np.sign(sizes[0]) * (_OFFSET + 0.1 * abs(sizes[0])) * scale
            series[slots] += shift
        case FaultKind.SPIKE:
            chance = draw_day(seed, day).fault_size[fault.machine, 1:]
            is_spike = np.abs(chance) > _two_sided_quantile(_SPIKE_SHARE)
            series[slots] += np.where(is_spike, np.sign(chance) * _SPIKE * scale, 0.0)[slots]


def _two_sided_quantile(share: float) -> float:
    """|z| that a normal variable exceeds with the given probability."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(1.0 - share / 2.0)
