"""Kinds of change of the machine itself, and changes that do no harm.

Truths: OPERATING_MODE for the first group, BENIGN for the second, NO_DRIFT for none. The model stays
right in all of them: outcomes follow what it says. Avoid broken sensors and wrong models here.
"""

import numpy as np

from ml.drift.scenarios.draft import DAYS, WINDOW_DAYS, Draft


def heavier_load(draft: Draft, rng: np.random.Generator) -> None:
    """More load: all sensors move the way that they usually move together."""
    draft.shift_all(_together(draft) * draft.between(1.6, 3.0, rng))


def lighter_load(draft: Draft, rng: np.random.Generator) -> None:
    """Less load."""
    draft.shift_all(-_together(draft) * draft.between(1.6, 3.0, rng))


def new_product(draft: Draft, rng: np.random.Generator) -> None:
    """Every sensor finds a level of its own."""
    signs = rng.choice([-1.0, 1.0], len(draft.metrics))
    draft.shift_all(signs * rng.uniform(1.3, 3.0, len(draft.metrics)) * draft.size)


def new_recipe(draft: Draft, rng: np.random.Generator) -> None:
    """Three sensors move far, the others little."""
    by = rng.choice([-1.0, 1.0], len(draft.metrics)) * rng.uniform(0.1, 0.5, len(draft.metrics))
    chosen = rng.choice(len(draft.metrics), min(3, len(draft.metrics)), replace=False)
    by[chosen] = np.sign(by[chosen]) * rng.uniform(1.6, 3.2, len(chosen)) * draft.size
    draft.shift_all(by)


def run_in_over_days(draft: Draft, rng: np.random.Generator) -> None:
    """A new mode that is reached within two days."""
    ramp = np.clip(np.arange(len(draft.true) - draft.begins) / (2 * draft.steps_per_day), 0, 1)[:, None]
    signs = rng.choice([-1.0, 1.0], len(draft.metrics))
    draft.shift_all(ramp * signs * rng.uniform(1.6, 3.0, len(draft.metrics)) * draft.size)


def scaled_operation(draft: Draft, rng: np.random.Generator) -> None:
    """A different speed: levels and fluctuations scale together."""
    heavier_load(draft, rng)
    draft.rescale_all(np.nanmean(draft.true[draft.changed], axis=0), float(rng.uniform(1.1, 1.4)))


def alternating_products(draft: Draft, rng: np.random.Generator) -> None:
    """Two products by turns of two days, most of the time the new one."""
    by = rng.choice([-1.0, 1.0], len(draft.metrics)) * rng.uniform(1.8, 3.2, len(draft.metrics)) * draft.size
    for first in range(draft.begins, len(draft.true), 3 * draft.steps_per_day):
        draft.shift_all(by, slice(first, min(first + 2 * draft.steps_per_day, len(draft.true))))


def steadier_operation(draft: Draft, rng: np.random.Generator) -> None:
    """A new mode in which everything also fluctuates less."""
    new_product(draft, rng)
    draft.rescale_all(np.nanmean(draft.true[draft.changed], axis=0), float(rng.uniform(0.6, 0.8)))


def mode_with_few_labels(draft: Draft, rng: np.random.Generator) -> None:
    """A new mode while almost no outcomes come in."""
    new_product(draft, rng)
    draft.labels_per_day = float(rng.uniform(1, 4))


def season(draft: Draft, rng: np.random.Generator) -> None:
    """Everything warms slowly since weeks before the window."""
    begins = len(draft.true) - int(rng.uniform(22, 34) * draft.steps_per_day)
    ramp = np.linspace(0.0, 1.0, len(draft.true) - begins)[:, None]
    sign = rng.choice([-1.0, 1.0])
    draft.shift_all(ramp * sign * rng.uniform(1.6, 2.6, len(draft.metrics)), slice(begins, len(draft.true)))


def small_step_of_one(draft: Draft, rng: np.random.Generator) -> None:
    """One sensor's level moves a little, as after greasing; it tells the truth."""
    by = np.zeros(len(draft.metrics))
    by[draft.pick(rng)] = rng.choice([-1.0, 1.0]) * rng.uniform(1.5, 2.2)
    draft.shift_all(by)


def small_step_without_effect(draft: Draft, rng: np.random.Generator) -> None:
    """A sensor that no prediction uses moves a little."""
    idle = int(np.argmin(np.abs(draft.weights)))
    draft.weights[idle] = 0.0
    by = np.zeros(len(draft.metrics))
    by[idle] = rng.choice([-1.0, 1.0]) * rng.uniform(1.5, 2.2)
    draft.shift_all(by)


def younger_parts(draft: Draft, rng: np.random.Generator) -> None:
    """What the model reads beside the sensors moves, and the truth with it."""
    draft.context[draft.changed_days] += rng.choice([-1.0, 1.0]) * rng.uniform(0.7, 1.1)


def small_step_of_two(draft: Draft, rng: np.random.Generator) -> None:
    """Two sensors move a little."""
    by = np.zeros(len(draft.metrics))
    chosen = rng.choice(len(draft.metrics), min(2, len(draft.metrics)), replace=False)
    by[chosen] = rng.choice([-1.0, 1.0], len(chosen)) * rng.uniform(1.5, 2.0, len(chosen))
    draft.shift_all(by)


def nothing(draft: Draft, rng: np.random.Generator) -> None:
    """The series as it is."""


def nothing_with_few_labels(draft: Draft, rng: np.random.Generator) -> None:
    """Nothing happens, and hardly any outcome is known."""
    draft.labels_per_day = float(rng.uniform(1, 5))


def few_lost_readings(draft: Draft, rng: np.random.Generator) -> None:
    """A network that loses two readings in a hundred, as before."""
    lost = rng.random(draft.reported.shape) < 0.02
    draft.reported[lost] = np.nan


def short_outage(draft: Draft, rng: np.random.Generator) -> None:
    """The whole machine is silent for half a day."""
    first = int(rng.integers(draft.begins, len(draft.true) - 12))
    draft.reported[first : first + 12] = np.nan


def short_event(draft: Draft, rng: np.random.Generator) -> None:
    """Some hours of hard work that end before the window does."""
    first = int(rng.integers(draft.begins, len(draft.true) - 16))
    draft.shift_all(_together(draft) * rng.uniform(1.5, 3.0), slice(first, first + 8))


def slow_network(draft: Draft, rng: np.random.Generator) -> None:
    """A third of the readings comes hours late; clocks are right."""
    steps = np.arange(draft.begins, len(draft.true))
    late = steps[rng.random(len(steps)) < 0.33]
    draft.delay_h[late] += rng.exponential(4.0, len(late))


def incident_in_reference(draft: Draft, rng: np.random.Generator) -> None:
    """A bad week in the reference, excluded by the incident calendar."""
    first = int(rng.integers(5, DAYS - WINDOW_DAYS - 8)) * draft.steps_per_day
    draft.reported[first : first + 5 * draft.steps_per_day] = np.nan


def _together(draft: Draft) -> np.ndarray:
    """The direction in which the sensors usually vary together, largest part 1."""
    known = np.nan_to_num((draft.true - np.nanmean(draft.true, axis=0)) / draft.spread)
    _, axes = np.linalg.eigh(np.cov(np.clip(known, -5, 5).T))
    axis = axes[:, -1] * np.sign(axes[np.argmax(np.abs(axes[:, -1])), -1])
    # Sensors that vary alone still feel the load a little.
    floor = np.where(axis >= 0, 0.45, -0.45)
    scaled = axis / np.abs(axis).max()
    return np.where(np.abs(scaled) < 0.45, floor, scaled)
