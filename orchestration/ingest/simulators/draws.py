"""Every random number of the simulator, from generators that are seeded by what they are drawn for.

A day's numbers depend on the seed and the day alone, a component cycle's on machine, component and
cycle: no window needs the numbers of an earlier one. Add a draw at the end of its block (numbers
drawn before it keep their values). Avoid `np.random` anywhere else in the simulator.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from orchestration.ingest.simulators.clock import SLOTS_PER_DAY, Floats
from orchestration.ingest.simulators.fleet import COMPONENTS, FLEET, METRICS, PLANTS

KNOTS = 8  # slow processes are drawn every 3 hours and interpolated
_EARLIEST_DAY = 16  # days before the start are drawn too (as context); seeds must not be negative

_DAY, _CYCLE, _SERVICE, _MACHINE, _DELIVERY, _INSPECTION = range(6)


@dataclass(frozen=True)
class DayDraws:
    """The random numbers of one day; n = machines, N(0, 1) or U(0, 1).

    Attributes:
        order_mix: N (n,): how heavy the day's work is.
        load_noise: N (n, 96).
        stop: U (n, 3): whether, when and how long the machine waits for material.
        weather: N (plants, 8).
        process: N (n, metrics, 8): slow wander of each metric.
        noise: N (n, metrics, 96): sensor noise.
        code: U (n, components + 1, 24): error codes by component; the last column is chance alone.
        code_moment: U (n, components + 1, 24, 3): when in the hour, which code, how long it stands.
        fault: U (n, 5): sensor fault: whether, kind, metric, start, length.
        fault_size: N (n, 97): size of an offset, then of each spike.
    """

    order_mix: Floats
    load_noise: Floats
    stop: Floats
    weather: Floats
    process: Floats
    noise: Floats
    code: Floats
    code_moment: Floats
    fault: Floats
    fault_size: Floats


@lru_cache(maxsize=16)
def draw_day(seed: int, day: int) -> DayDraws:
    """The numbers of one day; the same for the same seed and day, in any order of calls."""
    rng = np.random.default_rng([seed, _DAY, day + _EARLIEST_DAY])
    machines, metrics, causes = len(FLEET), len(METRICS), len(COMPONENTS) + 1
    return DayDraws(
        order_mix=rng.standard_normal(machines),
        load_noise=rng.standard_normal((machines, SLOTS_PER_DAY)),
        stop=rng.random((machines, 3)),
        weather=rng.standard_normal((len(PLANTS), KNOTS)),
        process=rng.standard_normal((machines, metrics, KNOTS)),
        noise=rng.standard_normal((machines, metrics, SLOTS_PER_DAY)),
        code=rng.random((machines, causes, 24)),
        code_moment=rng.random((machines, causes, 24, 3)),
        fault=rng.random((machines, 5)),
        fault_size=rng.standard_normal((machines, SLOTS_PER_DAY + 1)),
    )


@dataclass(frozen=True)
class CycleDraws:
    """What is decided when a component is fitted.

    Attributes:
        threshold: Wear at which it fails, around 1.
        lead_days: Days of usual load between the first signs and the failure.
        gain: How strongly it shows.
        has_codes: Whether the controller notices before the failure.
        repair_h: Hours of standstill when it fails.
        worn: U(0, 1): share of life already used, read for the first cycle only.
    """

    threshold: float
    lead_days: float
    gain: float
    has_codes: bool
    repair_h: float
    worn: float


def draw_cycle(seed: int, machine: int, component: int, cycle: int) -> CycleDraws:
    """The numbers of one component's life from fitting to failure or replacement."""
    rng = np.random.default_rng([seed, _CYCLE, machine, component, cycle])
    return CycleDraws(
        threshold=float(np.exp(0.2 * rng.standard_normal())),
        lead_days=float(rng.uniform(1.2, 3.8)),
        gain=float(rng.uniform(0.85, 1.25)),
        has_codes=bool(rng.random() < 0.65),
        repair_h=float(np.clip(np.exp(np.log(6.5) + 0.45 * rng.standard_normal()), 2.0, 30.0)),
        worn=float(rng.random()),
    )


def draw_service(seed: int, machine: int, visit: int) -> Floats:
    """U (3 + components): interval, duration and technician of a visit, then a chance per component."""
    return np.random.default_rng([seed, _SERVICE, machine, visit]).random(3 + len(COMPONENTS))


def draw_machines(seed: int) -> Floats:
    """N (n, metrics): how each machine differs from its model."""
    return np.random.default_rng([seed, _MACHINE]).standard_normal((len(FLEET), len(METRICS)))


def delivery_rng(seed: int, day: int, topic: int) -> np.random.Generator:
    """Generator of the delays and repeats of one day's messages of one topic."""
    return np.random.default_rng([seed, _DELIVERY, day + _EARLIEST_DAY, topic])


def inspection_rng(seed: int, day: int) -> np.random.Generator:
    """Generator of one day's inspections."""
    return np.random.default_rng([seed, _INSPECTION, day + _EARLIEST_DAY])


def interpolate_knots(today: Floats, tomorrow: Floats) -> Floats:
    """A slow process over the day's slots from its knots: (…, 8) and (…, 8) to (…, 96).

    The last stretch runs to the first knot of the next day, so that days join without a step.
    """
    knots = np.concatenate([today, tomorrow[..., :1]], axis=-1)
    per_knot = SLOTS_PER_DAY // KNOTS
    slots = np.arange(SLOTS_PER_DAY)
    left, share = slots // per_knot, (slots % per_knot) / per_knot
    return knots[..., left] * (1.0 - share) + knots[..., left + 1] * share
