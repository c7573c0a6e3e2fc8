"""Forecasts per second: 96 series of a simulated plant, every linear candidate judged for each.

`make bench ONLY=forecast`. Thirteen weeks of hours per series; choice, judgement, intervals and limits count.
"""

import time
from datetime import UTC, datetime

import numpy as np

from ml.forecast.model_version import forecast_all
from ml.forecast.plant_series import SubjectSeries
from ml.forecast.series import HOUR, Series
from orchestration.figures import Figure, report

COMMAND = "make bench ONLY=forecast"
SERIES, HOURS = 96, 13 * 168
START = datetime(2026, 1, 5, tzinfo=UTC)


def main() -> None:
    """Measure, report, and fail when the bar is not held."""
    subjects = [_subject(number) for number in range(SERIES)]
    forecast_all(subjects[:4])  # imports and the first allocation are not the forecasts'
    begun = time.perf_counter()
    made = forecast_all(subjects)
    chosen = time.perf_counter()
    choices = {found.subject.key: found.forecast.method for found in made}
    again = forecast_all(subjects, choices=choices)
    served = time.perf_counter()
    figures = [
        Figure("forecast_rate", len(made) / (chosen - begun), "series/s", "higher", 50.0, command=COMMAND),
        Figure("forecast_rate_chosen_before", len(again) / (served - chosen), "series/s", "higher"),
    ]
    report("forecast", figures)
    if any(figure.holds is False for figure in figures):
        raise SystemExit("forecast: the bar is not held")


def _subject(number: int) -> SubjectSeries:
    """A machine that runs by shifts, with slow wander and noise."""
    draws = np.random.default_rng(number)
    hours = np.arange(HOURS)
    runs = ((hours // 24) % 7 < 5) & (hours % 24 >= 6) & (hours % 24 < 22)
    wander = np.cumsum(draws.normal(size=HOURS)) * 0.02
    values = np.where(runs, 45.0, 25.0) + wander + draws.normal(size=HOURS)
    series = Series(values, np.ones(HOURS, dtype=bool), START, HOUR)
    return SubjectSeries("equipment", f"machine-{number:03d}", "temperature_c", "", series)


if __name__ == "__main__":
    main()
