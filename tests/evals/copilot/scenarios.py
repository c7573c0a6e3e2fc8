"""What a maintenance engineer asks, and what a right answer has: fixed cases and cases drawn at random.

Fixed cases stand in `cases.yaml`. Avoid scoring here (`scoring.py`).
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import yaml

from tests.evals.copilot.plant import HERE, METRICS, NOW, Plant

STRICT = {"no-answer", "tenant", "injection"}
"""Families of which every case has to pass."""


@dataclass(frozen=True)
class Scenario:
    """One question and what its answer must and must not have.

    Attributes:
        family: What it tests.
        contains: Texts that must stand in the answer or its next steps.
        absent: Texts that must stand nowhere: answer, steps, citations, evidence.
        unsaid: Texts that a cited document may have, but no sentence of the answer.
        documents: `id@version` of which each must be cited.
        tables: Each must be cited.
        numbers: Each must stand in the answer, rounded as answers round.
    """

    name: str
    family: str
    question: str
    tenant: str = HERE
    equipment_id: str | None = None
    status: str = "answered"
    contains: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()


_CASES = Path(__file__).with_name("cases.yaml")


def fixed() -> list[Scenario]:
    """Cases whose answers do not depend on the drawn figures."""
    cases = yaml.safe_load(_CASES.read_text(encoding="utf-8"))
    return [
        Scenario(**{name: tuple(value) if isinstance(value, list) else value for name, value in case.items()})
        for case in cases
    ]


_PERIODS = {"last 24 hours": 1, "last 3 days": 3, "last 7 days": 7, "last 2 weeks": 14, "past 30 days": 30}
_METRIC_WORDS = {"temperature_c": "temperature", "vibration_mm_s": "vibration", "power_kw": "power"}


def drawn(plants: dict[str, Plant], seed: int) -> list[Scenario]:
    """Cases whose machine, metric and period are drawn anew: they can't be learnt by heart.

    Args:
        plants: What the tables were filled from.
        seed: Printed by the caller.
    """
    rng = np.random.default_rng([seed, 7])
    makers = (
        _mean,
        _mean,
        _maximum,
        _change,
        _highest,
        _highest,
        _defects,
        _uptime,
        _downtime,
        _hottest_two,
        _codes,
    )
    return [
        maker(plants[HERE], rng, f"drawn-{number:02d}") for number, maker in enumerate(makers * 4, start=1)
    ]


def _pick(plant: Plant, rng: np.random.Generator) -> tuple[str, str, str, datetime]:
    machine = plant.machines[rng.integers(len(plant.machines))].equipment_id
    metric = list(METRICS)[rng.integers(len(METRICS))]
    words = list(_PERIODS)[rng.integers(len(_PERIODS))]
    return machine, metric, words, NOW - timedelta(days=_PERIODS[words])


def _mean(plant: Plant, rng: np.random.Generator, name: str) -> Scenario:
    machine, metric, words, since = _pick(plant, rng)
    expected = plant.hourly(machine, metric, since, NOW).mean()
    question = f"What was the mean {_METRIC_WORDS[metric]} of {machine} in the {words}?"
    return Scenario(name, "number", question, contains=(metric, machine), numbers=(float(expected),))


def _maximum(plant: Plant, rng: np.random.Generator, name: str) -> Scenario:
    machine, metric, words, since = _pick(plant, rng)
    expected = plant.hourly(machine, metric, since, NOW).max() + 0.5  # an hour's maximum, not its mean
    question = f"How high was the {_METRIC_WORDS[metric]} of {machine} at most in the {words}?"
    return Scenario(name, "number", question, numbers=(float(expected),))


def _change(plant: Plant, rng: np.random.Generator, name: str) -> Scenario:
    machine, metric, words, since = _pick(plant, rng)
    before = since - (NOW - since)
    now, then = (plant.hourly(machine, metric, *span).mean() for span in ((since, NOW), (before, since)))
    question = (
        f"How has the {_METRIC_WORDS[metric]} of {machine} developed in the {words}? Show me the trend."
    )
    return Scenario(name, "number", question, numbers=(float(now), float(then), abs(float(now - then))))


def _highest(plant: Plant, rng: np.random.Generator, name: str) -> Scenario:
    _, metric, words, since = _pick(plant, rng)
    means = {m.equipment_id: plant.hourly(m.equipment_id, metric, since, NOW).mean() for m in plant.machines}
    lowest = bool(rng.integers(2))
    best = (min if lowest else max)(means, key=lambda machine: means[machine])
    question = (
        f"Which machine had the {'lowest' if lowest else 'highest'} {_METRIC_WORDS[metric]} in the {words}?"
    )
    order = "lowest first" if lowest else "highest first"
    return Scenario(
        name, "comparison", question, contains=(f"{order}: {best} ",), numbers=(float(means[best]),)
    )


def _hottest_two(plant: Plant, rng: np.random.Generator, name: str) -> Scenario:
    machine, metric, words, since = _pick(plant, rng)
    other = next(m.equipment_id for m in plant.machines if m.equipment_id != machine)
    means = [float(plant.hourly(m, metric, since, NOW).mean()) for m in (machine, other)]
    question = f"Compare the {_METRIC_WORDS[metric]} of {machine} and {other} over the {words}"
    return Scenario(name, "comparison", question, numbers=(*means, abs(means[0] - means[1])))


def _days(words: str) -> tuple[date, date]:
    """Whole days of a period that ends at 06:00: the first, begun before the period, is left out."""
    return (NOW - timedelta(days=_PERIODS[words] - 1)).date(), NOW.date()


def _defects(plant: Plant, rng: np.random.Generator, name: str) -> Scenario:
    machine, _, words, _ = _pick(plant, rng)
    first, last = _days(words)
    defective, inspected = (
        plant.daily(c, [machine], first, last) for c in ("defective_units", "inspected_units")
    )
    question = f"What was the defect rate of {machine} in the {words}?"
    return Scenario(
        name, "number", question, tables=("marts.fact_production_metrics",), numbers=(defective / inspected,)
    )


def _uptime(plant: Plant, rng: np.random.Generator, name: str) -> Scenario:
    machine, _, words, _ = _pick(plant, rng)
    hall = next(m.plant_id for m in plant.machines if m.equipment_id == machine)
    machines = [m.equipment_id for m in plant.machines if m.plant_id == hall]
    run, planned = (plant.daily(c, machines, *_days(words)) for c in ("run_s", "planned_run_s"))
    question = f"What was the uptime of {hall} in the {words}?"
    return Scenario(name, "number", question, contains=(hall,), numbers=(run / planned,))


def _downtime(plant: Plant, rng: np.random.Generator, name: str) -> Scenario:
    machine, _, words, _ = _pick(plant, rng)
    expected = plant.daily("downtime_h", [machine], *_days(words))
    question = f"What was the total downtime of {machine} in the {words}?"
    return Scenario(name, "number", question, contains=(machine,), numbers=(expected,))


def _codes(plant: Plant, rng: np.random.Generator, name: str) -> Scenario:
    machine, _, words, _ = _pick(plant, rng)
    expected = plant.events(_PERIODS[words] * 24, machine=machine, kind="error")
    question = f"How many errors did {machine} raise in the {words}?"
    if not expected:
        return Scenario(name, "no-answer", question, status="refused", contains=(machine,))
    return Scenario(name, "number", question, contains=(machine,), numbers=(expected,))
