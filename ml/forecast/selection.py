"""Which candidate forecasts a series best: rolling origins, never the same ones to choose and to judge.

The first part of a series fits the candidates, origins in the next part choose, and origins in the last
part judge the choice. The winner is then fitted on everything; its intervals come from the errors that it
made at the origins of the last two parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ml.forecast.candidates import Candidate, Fitted, Origins, SeasonalNaive, candidates_for
from ml.forecast.intervals import NOMINAL, half_widths
from ml.forecast.series import Series, Values

FITTED_SHARE = 0.6
CHOSEN_SHARE = 0.8
MOST_ORIGINS = 120
RUNNING_SHARE = 0.2
# A dearer candidate must be better by this share; a smaller gain on a few origins is chance.
LEAST_GAIN = 0.02


class SeriesTooShortError(ValueError):
    """A series has too few values for any backtest; the message says how many are needed."""


@dataclass(frozen=True)
class Judgement:
    """Errors of the chosen candidate at origins that had no part in the choice.

    Attributes:
        origins: How many.
        mae: Mean absolute error in the series' unit.
        mse: Mean squared error.
        mape_percent: Mean absolute percentage error of running steps: those above a fifth of the series'
            90th percentile. A machine that stands shows values near 0, and a share of nearly nothing is no
            measure; NaN for series that change their sign.
        running_percent: Share of observed steps that count as running.
        mase: MAE over that of the seasonal naive forecast within the training part.
        coverage_percent: Observed values within the interval.
        mse_of_naive: Of the last value, at the same origins.
    """

    origins: int
    mae: float
    mse: float
    mape_percent: float
    running_percent: float
    mase: float
    coverage_percent: float
    mse_of_naive: float


@dataclass(frozen=True)
class Selection:
    """The winner, fitted on everything.

    Attributes:
        candidate: What won.
        fitted: Fitted on the whole series.
        mae_by_candidate: Absolute error of every candidate at the choosing origins.
        half_width: Half width of the interval per step ahead.
        judgement: On the last origins.
        judged: Loss at each judged origin, for the comparison of versions: `step` of the origin and `loss`,
            its mean absolute error over the seasonal naive forecast's.
    """

    candidate: Candidate
    fitted: Fitted
    mae_by_candidate: dict[str, float]
    half_width: Values
    judgement: Judgement
    judged: pl.DataFrame


def select(
    series: Series,
    horizon: int,
    more: Sequence[Candidate] = (),
    nominal: float = NOMINAL,
    only: str | None = None,
) -> Selection:
    """Choose, judge and fit.

    Args:
        series: All known values.
        horizon: Steps ahead.
        more: Candidates beside the cheap ones.
        nominal: Share of values that the interval is to hold.
        only: Name of the candidate that was chosen before; all of them where the series has no such one.

    Raises:
        SeriesTooShortError: No origin is left to choose or judge at.
    """
    total = len(series)
    fitted_until, chosen_until = int(total * FITTED_SHARE), int(total * CHOSEN_SHARE)
    choosing = origins_between(fitted_until, chosen_until, horizon)
    judging = origins_between(chosen_until, total, horizon)
    if not len(choosing) or not len(judging):
        needed = int(np.ceil(horizon / (1.0 - CHOSEN_SHARE))) + 1
        raise SeriesTooShortError(
            f"The series has {total} values; a horizon of {horizon} steps needs at least {needed}."
        )
    for origins in (choosing, judging):
        if not series.is_observed[origins[0] : origins[-1] + horizon].any():
            raise SeriesTooShortError(
                "No value was observed in the part that chooses or the part that judges."
            )
    past = series.values[:fitted_until]
    found: dict[str, tuple[Candidate, Values]] = {}
    candidates = (*candidates_for(fitted_until, series.day, series.week), *more)
    named = [candidate for candidate in candidates if candidate.name == only]
    for candidate in named or candidates:
        ahead = candidate.fit(past, horizon).forecast(series.values, choosing, horizon)
        found[candidate.name] = (candidate, errors(series, choosing, ahead))
    scores = {name: float(np.nanmean(np.abs(wrong))) for name, (_, wrong) in found.items()}
    candidate, chosen_errors = found[best_of(scores)]
    judgement, judged_errors = _judge(series, candidate, chosen_until, judging, chosen_errors, nominal)
    usual = judgement.mae / judgement.mase if judgement.mase else float("nan")
    return Selection(
        candidate=candidate,
        fitted=candidate.fit(series.values, horizon),
        mae_by_candidate=scores,
        half_width=half_widths(np.concatenate([chosen_errors, judged_errors]), nominal),
        judgement=judgement,
        judged=pl.DataFrame({"step": judging, "loss": _mean_by_origin(np.abs(judged_errors)) / usual}).filter(
            pl.col("loss").is_finite()
        ),
    )


def origins_between(known: int, end: int, horizon: int, most: int = MOST_ORIGINS) -> Origins:
    """Origins from `known` on whose horizon ends by `end`, evenly thinned to at most `most`."""
    origins = np.arange(known, end - horizon + 1)
    # A stride without a common factor with a day or a week visits every hour of them.
    stride = max(-(-len(origins) // most), 1)
    while stride > 1 and (stride % 2 == 0 or stride % 3 == 0 or stride % 7 == 0):
        stride += 1
    return origins[::stride]


def best_of(scores: dict[str, float]) -> str:
    """Lowest error; an earlier, simpler candidate keeps its place until it is clearly beaten."""
    names = list(scores)
    best = names[0]
    for name in names[1:]:
        if scores[name] < scores[best] * (1.0 - LEAST_GAIN):
            best = name
    return best


def errors(series: Series, origins: Origins, ahead: Values) -> Values:
    """Observed minus forecast: shape (origins, horizon), NaN where nothing was observed."""
    index = np.add.outer(origins, np.arange(ahead.shape[1], dtype=np.int64)).astype(np.int64)
    return np.where(series.is_observed[index], series.values[index] - ahead, np.nan)


def _mean_by_origin(losses: Values) -> Values:
    """Mean over the observed steps of each origin; NaN where a gap covers the whole horizon."""
    seen = np.isfinite(losses).sum(axis=1)
    total = np.where(np.isfinite(losses), losses, 0.0).sum(axis=1)
    return np.divide(total, seen, out=np.full(len(losses), np.nan), where=seen > 0)


def _judge(
    series: Series,
    candidate: Candidate,
    known: int,
    origins: Origins,
    earlier_errors: Values,
    nominal: float,
) -> tuple[Judgement, Values]:
    horizon = earlier_errors.shape[1]
    past = series.values[:known]
    ahead = candidate.fit(past, horizon).forecast(series.values, origins, horizon)
    wrong = errors(series, origins, ahead)
    naive = errors(series, origins, SeasonalNaive(1).forecast(series.values, origins, horizon))
    truth = series.values[origins[:, None] + np.arange(horizon)]
    is_seen = np.isfinite(wrong)
    season = series.week if known >= 2 * series.week else 1
    usual = float(np.mean(np.abs(past[season:] - past[:-season])))
    runs = is_seen & (truth > RUNNING_SHARE * np.quantile(past, 0.9)) & bool(np.quantile(past, 0.01) >= 0)
    return Judgement(
        origins=len(origins),
        mae=float(np.nanmean(np.abs(wrong))),
        mse=float(np.nanmean(wrong**2)),
        mape_percent=float(100.0 * np.mean(np.abs(wrong[runs] / truth[runs])))
        if runs.any()
        else float("nan"),
        running_percent=float(100.0 * runs.sum() / is_seen.sum()),
        mase=float(np.nanmean(np.abs(wrong))) / usual if usual > 0 else float("nan"),
        coverage_percent=float(
            100.0 * np.mean((np.abs(wrong) <= half_widths(earlier_errors, nominal))[is_seen])
        ),
        mse_of_naive=float(np.nanmean(naive**2)),
    ), wrong
