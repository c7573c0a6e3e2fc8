"""Ways to forecast one series; the backtest decides between them.

Each is fitted on a series' past and then forecasts from any number of origins at once: an origin is the
number of values that are known, and only those are read. Add a candidate here and in `candidates_for`.
Avoid choosing: that is `ml.forecast.selection`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.forecast.series import Values, windows

Origins = NDArray[np.int64]
# A machine that waits for material is ten quartile ranges below its usual load; such hours say nothing about
# the next ones and are pulled in to this many.
UNUSUAL = 4.0
# Two weeks of hours, one of quarter hours; more weights cost memory and bring nothing on any series seen.
MOST_LAGS = 720


class Fitted(Protocol):
    """A candidate that has seen its training values."""

    def forecast(self, values: Values, origins: Origins, horizon: int) -> Values:
        """Forecast `horizon` steps from each origin: shape (origins, horizon).

        Args:
            values: The series from its first value on; nothing at or after an origin is read.
            origins: Number of known values, at least `context` of the candidate.
            horizon: Steps ahead.
        """
        ...


class Candidate(Protocol):
    """A way to forecast, not yet fitted."""

    @property
    def name(self) -> str:
        """Name as results show it."""
        ...

    @property
    def context(self) -> int:
        """Values before an origin that a forecast needs."""
        ...

    def fit(self, values: Values, horizon: int) -> Fitted:
        """Learn from the values of a training period."""
        ...


@dataclass(frozen=True)
class SeasonalNaive:
    """The value of one period before; with period 1 the last value.

    Attributes:
        period: Steps.
    """

    period: int

    @property
    def name(self) -> str:
        """`naive` for the last value, else with the period in steps."""
        return "naive" if self.period == 1 else f"seasonal_naive_{self.period}"

    @property
    def context(self) -> int:
        """One period."""
        return self.period

    def fit(self, values: Values, horizon: int) -> "SeasonalNaive":
        """Nothing to learn."""
        return self

    def forecast(self, values: Values, origins: Origins, horizon: int) -> Values:
        """See `Fitted.forecast`."""
        last = windows(values, self.period, origins)
        return last[:, np.arange(horizon) % self.period]


@dataclass(frozen=True)
class SeasonalMean:
    """Mean of the last periods at the same place in them: for short series whose periods differ by chance.

    Attributes:
        period: Steps.
        cycles: Periods that are averaged.
    """

    period: int
    cycles: int = 4

    @property
    def name(self) -> str:
        """Name with the period in steps."""
        return f"seasonal_mean_{self.period}"

    @property
    def context(self) -> int:
        """All averaged periods."""
        return self.period * self.cycles

    def fit(self, values: Values, horizon: int) -> "SeasonalMean":
        """Nothing to learn."""
        return self

    def forecast(self, values: Values, origins: Origins, horizon: int) -> Values:
        """See `Fitted.forecast`."""
        last = windows(values, self.context, origins)
        usual = last.reshape(len(origins), self.cycles, self.period).mean(axis=1)
        return usual[:, np.arange(horizon) % self.period]


@dataclass(frozen=True)
class Ridge:
    """Linear regression of every step ahead on the last values, all relative to a base line.

    With `profile` the base line is the median at that place in the week, and values far off it are pulled
    in; else it is the last value. One solve gives all steps: the normal matrix is the same for each.

    Attributes:
        lags: Last values that predict.
        profile: Steps per week for the weekly base line; 0 for the last value.
        penalty: Ridge penalty per training row, in units of the inputs' variance.
    """

    lags: int
    profile: int = 0
    penalty: float = 0.01

    @property
    def name(self) -> str:
        """Name with the lags."""
        return f"ridge_weekly_{self.lags}" if self.profile else f"ridge_{self.lags}"

    @property
    def context(self) -> int:
        """The lags."""
        return self.lags

    def fit(self, values: Values, horizon: int) -> "FittedRidge":
        """Solve the normal equations; the profile is the median of each place in the week."""
        usual = _weekly_medians(values, self.profile) if self.profile else np.zeros(0)
        level = values
        reach = float("inf")
        if self.profile:
            level = values - _repeated(usual, len(values))
            reach = UNUSUAL * float(np.diff(np.quantile(level, [0.25, 0.75]))[0]) or reach
            level = np.clip(level, -reach, reach)
        origins = np.arange(self.lags, len(values) - horizon + 1)
        inputs = windows(level, self.lags, origins)
        targets = windows(level, horizon, origins + horizon)
        if not self.profile:
            last = inputs[:, -1:]
            inputs, targets = inputs - last, targets - last
        centre, aim = inputs.mean(axis=0), targets.mean(axis=0)
        centred = inputs - centre
        gram: Values = centred.T @ centred
        scale = float(np.trace(gram)) / self.lags
        gram[np.diag_indices_from(gram)] += self.penalty * max(scale, 1e-12)
        weights = np.asarray(np.linalg.solve(gram, centred.T @ (targets - aim)), dtype=np.float64)
        return FittedRidge(self.lags, usual, weights, aim - centre @ weights, reach)


@dataclass(frozen=True)
class FittedRidge:
    """Weights of one series.

    Attributes:
        lags: Last values that predict.
        usual: Weekly base line; empty for the last value.
        weights: Shape (lags, steps ahead).
        offset: Shape (steps ahead,).
        reach: Largest distance from the base line that is believed.
    """

    lags: int
    usual: Values
    weights: Values
    offset: Values
    reach: float = float("inf")

    def forecast(self, values: Values, origins: Origins, horizon: int) -> Values:
        """See `Fitted.forecast`."""
        weights, offset = self.weights[:, :horizon], self.offset[:horizon]
        if not len(self.usual):
            inputs = windows(values, self.lags, origins)
            last = inputs[:, -1:]
            return (inputs - last) @ weights + offset + last
        base = _repeated(self.usual, len(values) + horizon)
        level = np.clip(values - base[: len(values)], -self.reach, self.reach)
        inputs = windows(level, self.lags, origins)
        ahead = windows(base, horizon, origins + horizon)
        return inputs @ weights + offset + ahead


def candidates_for(training: int, day: int, week: int) -> Sequence[Candidate]:
    """The cheap candidates that a training period of this length can feed, the simplest first.

    Args:
        training: Values in the training period.
        day: Steps per day.
        week: Steps per week.
    """
    found: list[Candidate] = [SeasonalNaive(1)]
    found += [SeasonalNaive(period) for period in dict.fromkeys((day, week)) if training >= 2 * period]
    if training >= 5 * week:
        found.append(SeasonalMean(week))
    # Twelve rows per weight keep the fit from following noise in short histories.
    lags = dict.fromkeys((day, 2 * day, week, 2 * week))
    found += [Ridge(count) for count in lags if training >= 12 * count and count <= MOST_LAGS]
    if training >= 4 * week:
        found += [Ridge(count, profile=week) for count in (day, 2 * day) if training >= 12 * count]
    return found


def _weekly_medians(values: Values, week: int) -> Values:
    """Median at each place in the week, over whole weeks that end with the last value."""
    first = len(values) % week
    return np.roll(np.median(values[first:].reshape(-1, week), axis=0), first)


def _repeated(usual: Values, length: int) -> Values:
    return usual[np.arange(length) % len(usual)]
