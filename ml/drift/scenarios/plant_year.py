"""The truth of a simulated year: one machine, its sensors, and what fails, with changes of known days.

Concepts change three times, products twice, sensors break five times. Avoid policies: `year` has them.
"""

from dataclasses import dataclass

import numpy as np

from ml.drift.autoregression import coloured

FIRST_DAY, DAYS = 60, 60 + 365
ROWS_PER_DAY, SENSORS = 40, 4


@dataclass(frozen=True)
class Year:
    """The truth and what was reported.

    Attributes:
        reported: What the sensors said, shape (hours, sensors).
        rows: What the model reads, as reported, shape (days, rows, features): sensors, then one more.
        outcome: Whether it failed, shape (days, rows).
        changes: Days from which outcomes follow other rules.
    """

    reported: np.ndarray
    rows: np.ndarray
    outcome: np.ndarray
    changes: list[int]


def draw_year(seed: int) -> Year:
    """Draw one year; the same seed gives the same."""
    rng = np.random.default_rng([seed, 365])
    noise = rng.standard_normal((SENSORS + 1, DAYS * 24 + 200)) * 0.44
    wander = coloured(noise, 0.9)[:, 200:]
    shared = np.array([0.8, 0.6, -0.5, 0.2])[:, None]
    true = (shared * wander[0] + np.sqrt(1 - shared**2) * wander[1:]).T
    # Two new products in the year: every sensor finds another level, and outcomes follow it.
    for day in rng.integers(FIRST_DAY + 20, DAYS - 30, 2):
        true[day * 24 :] += rng.choice([-1.0, 1.0], SENSORS) * rng.uniform(0.8, 1.6, SENSORS)
    reported = true.copy()
    for _ in range(5):
        _break_sensor(reported, int(rng.integers(FIRST_DAY + 5, DAYS - 20)), rng)
    # Three changes of concept, at least 80 days apart.
    changes = [int(FIRST_DAY + 30 + 110 * part + rng.integers(0, 30)) for part in range(3)]
    weights = rng.normal(0, 0.5, SENSORS + 1)
    weights[int(rng.integers(SENSORS))] = rng.choice([-1.0, 1.0]) * 1.2
    intercept = -1.4
    rows = np.zeros((DAYS, ROWS_PER_DAY, SENSORS + 1))
    outcome = np.zeros((DAYS, ROWS_PER_DAY))
    for day in range(DAYS):
        if day in changes:
            if rng.random() < 0.5:
                intercept = -1.4 if intercept > -1.0 else intercept + rng.uniform(1.2, 1.8)
            else:
                weights = -0.6 * weights
        hours = day * 24 + rng.integers(0, 24, ROWS_PER_DAY)
        beside = rng.standard_normal(ROWS_PER_DAY)
        rows[day] = np.clip(np.column_stack([reported[hours], beside]), -4, 4)
        truth = np.clip(np.column_stack([true[hours], beside]), -4, 4) @ weights + intercept
        outcome[day] = rng.random(ROWS_PER_DAY) < 1.0 / (1.0 + np.exp(-truth))
    return Year(reported, rows, outcome, changes)


def _break_sensor(reported: np.ndarray, day: int, rng: np.random.Generator) -> None:
    column, steps = int(rng.integers(SENSORS)), slice(day * 24, (day + int(rng.integers(8, 20))) * 24)
    match int(rng.integers(4)):
        case 0:
            reported[steps, column] += rng.choice([-1.0, 1.0]) * rng.uniform(4, 8)
        case 1:
            reported[steps, column] = reported[steps.start, column]
        case 2:
            reported[steps, column] += rng.standard_normal(steps.stop - steps.start) * 5
        case _:
            reported[steps, column] *= 14.5
