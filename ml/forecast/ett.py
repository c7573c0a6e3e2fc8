"""Judge the automatically chosen candidate on tables in the form of the electricity-transformer sets.

A table has `date` at even steps and the target `OT` (oil temperature). The public split holds: twelve months
of 30 days to fit, four to choose, four to judge, at every origin. Values are standardised by the first part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ml.datasets.tables import TableFormatError, has_columns, instants, read_table, table_name, tables_below
from ml.forecast.candidates import Candidate, SeasonalNaive, candidates_for
from ml.forecast.intervals import NOMINAL, running_half_widths
from ml.forecast.prophet import ProphetCandidate
from ml.forecast.selection import best_of, errors
from ml.forecast.series import DAY, Series, Values, regular

FIT_DAYS, CHOOSE_DAYS, JUDGE_DAYS = 360, 120, 120
TARGET = "OT"
_INSTANTS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S")
MEMORY_DAYS = 60


@dataclass(frozen=True)
class SeriesScore:
    """Scores of one table, standardised.

    Attributes:
        candidate: What the choosing months chose.
        mse: Mean squared error over all windows and steps.
        mae: Mean absolute error.
        mse_last_value: Of the last value at the same origins.
        coverage_percent: Values within the intervals.
        windows: Origins judged.
        mae_when_chosen: Every candidate at the choosing origins.
        prophet: Prophet and the winner at a few choosing origins; empty where it was not asked for.
    """

    candidate: str
    mse: float
    mae: float
    mse_last_value: float
    coverage_percent: float
    windows: int
    mae_when_chosen: Mapping[str, float]
    prophet: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Keys as the command prints them."""
        return {
            "mse": round(self.mse, 5),
            "mae": round(self.mae, 5),
            "ratio_mse_to_last_value": round(self.mse / self.mse_last_value, 4),
            "coverage_percent": round(self.coverage_percent, 3),
            "nominal_percent": 100.0 * NOMINAL,
            "mse_last_value": round(self.mse_last_value, 5),
            "candidate": self.candidate,
            "windows": self.windows,
            "mae_when_chosen": {name: round(score, 5) for name, score in self.mae_when_chosen.items()},
            "mae_beside_prophet": {name: round(score, 5) for name, score in self.prophet.items()},
        }


def judge_ett(path: Path, horizon: int = 24, prophet_origins: int = 0) -> Mapping[str, SeriesScore]:
    """Choose and judge on every table at or below a path, by name.

    Args:
        path: A table or a folder.
        horizon: Steps ahead.
        prophet_origins: Choosing origins at which Prophet is tried too; a fit takes seconds.

    Raises:
        TableFormatError: No table has the columns and the length.
    """
    found = {
        table_name(table): _judge(series, horizon, prophet_origins)
        for table in tables_below(path)
        if (series := _series(table)) is not None
    }
    if not found:
        raise TableFormatError(
            f"{path} has no table with `date`, `{TARGET}` and {FIT_DAYS + CHOOSE_DAYS + JUDGE_DAYS} days."
        )
    return found


def to_json(scores: Mapping[str, SeriesScore]) -> dict[str, Any]:
    """The scores of a single table at the top; of several, their means at the top and each by name."""
    each = {name: score.to_json() for name, score in scores.items()}
    if len(each) == 1:
        return next(iter(each.values()))
    shared = ("mse", "mae", "ratio_mse_to_last_value", "coverage_percent")
    means = {key: round(float(np.mean([found[key] for found in each.values()])), 5) for key in shared}
    return {**means, "by_series": each}


def _judge(series: Series, horizon: int, prophet_origins: int) -> SeriesScore:
    per_day = round(DAY / series.step)
    fit_end, choose_end, judge_end = (
        days * per_day for days in (FIT_DAYS, FIT_DAYS + CHOOSE_DAYS, FIT_DAYS + CHOOSE_DAYS + JUDGE_DAYS)
    )
    past = series.values[:fit_end]
    scaled = Series(
        (series.values - past.mean()) / past.std(), series.is_observed, series.start, series.step
    ).until(judge_end)
    choosing = np.arange(fit_end, choose_end - horizon + 1)
    wrong: dict[str, Values] = {}
    candidates = {candidate.name: candidate for candidate in candidates_for(fit_end, scaled.day, scaled.week)}
    for name, candidate in candidates.items():
        ahead = candidate.fit(scaled.values[:fit_end], horizon).forecast(scaled.values, choosing, horizon)
        wrong[name] = errors(scaled, choosing, ahead)
    scores = {name: float(np.nanmean(np.abs(found))) for name, found in wrong.items()}
    winner: Candidate = candidates[best_of(scores)]
    earlier = wrong[winner.name]
    beside: dict[str, float] = {}
    if prophet_origins:
        few = np.linspace(0, len(choosing) - 1, prophet_origins).astype(np.int64)
        prophet = ProphetCandidate(series.start, series.step)
        of_prophet = errors(scaled, choosing[few], prophet.forecast(scaled.values, choosing[few], horizon))
        beside = {
            winner.name: float(np.nanmean(np.abs(earlier[few]))),
            prophet.name: float(np.nanmean(np.abs(of_prophet))),
        }
        if best_of(beside) == prophet.name:
            choosing, earlier, winner = choosing[few], of_prophet, prophet
    judging = np.arange(choose_end, judge_end - horizon + 1)
    found = errors(
        scaled,
        judging,
        winner.fit(scaled.values[:choose_end], horizon).forecast(scaled.values, judging, horizon),
    )
    naive = errors(scaled, judging, SeasonalNaive(1).forecast(scaled.values, judging, horizon))
    widths = running_half_widths(np.concatenate([earlier, found]), spacing=1, memory=MEMORY_DAYS * per_day)[
        -len(found) :
    ]
    return SeriesScore(
        candidate=winner.name,
        mse=float(np.nanmean(found**2)),
        mae=float(np.nanmean(np.abs(found))),
        mse_last_value=float(np.nanmean(naive**2)),
        coverage_percent=float(100.0 * np.nanmean(np.abs(found) <= widths)),
        windows=len(judging),
        mae_when_chosen=scores,
        prophet=beside,
    )


def _series(path: Path) -> Series | None:
    if not has_columns(path, ("date", TARGET)):
        return None
    frame = read_table(path)
    at = instants(path, frame["date"], _INSTANTS).dt.replace_time_zone("UTC")
    step = at.diff().median()
    if not isinstance(step, timedelta) or step <= timedelta(0):
        return None
    series = regular(at, frame[TARGET].cast(pl.Float64), step)
    days = FIT_DAYS + CHOOSE_DAYS + JUDGE_DAYS
    return series if series is not None and len(series) >= days * round(DAY / step) else None
