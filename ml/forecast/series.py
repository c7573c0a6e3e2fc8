"""A regular series: values at even steps, gaps filled and marked.

Add an input shape here. Avoid models: they see arrays.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

Values = NDArray[np.float64]
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Series:
    """One series without gaps.

    Attributes:
        values: Shape (steps,), finite.
        is_observed: Shape (steps,); False where a gap was filled.
        start: Instant of the first value.
        step: Time between values.
    """

    values: Values
    is_observed: NDArray[np.bool_]
    start: datetime
    step: timedelta

    def __len__(self) -> int:
        return len(self.values)

    @property
    def end(self) -> datetime:
        """Instant of the last value."""
        return self.start + (len(self) - 1) * self.step

    @property
    def week(self) -> int:
        """Steps per week, at least 2."""
        return max(round(WEEK / self.step), 2)

    @property
    def day(self) -> int:
        """Steps per day; steps per week where a step is a day or longer."""
        steps = round(DAY / self.step)
        return steps if steps > 1 else self.week

    def until(self, steps: int) -> "Series":
        """The first `steps` values."""
        return Series(self.values[:steps], self.is_observed[:steps], self.start, self.step)


def regular(
    instants: pl.Series, values: pl.Series, step: timedelta, until: datetime | None = None
) -> Series | None:
    """Put values on a regular grid; a gap takes the value of a week before, else the last one.

    Args:
        instants: UTC instants, in any order; the last of equal ones counts.
        values: Values; null and NaN are gaps.
        step: Time between values of the grid, which begins at the first instant.
        until: The grid goes on to the last step by then, so that a forecast begins after it; else it ends
            with the last value.

    Returns:
        None without a finite value.
    """
    frame = (
        pl.DataFrame({"at": instants, "value": values.cast(pl.Float64)})
        .filter(pl.col("value").is_finite())
        .sort("at", maintain_order=True)
        .unique("at", keep="last", maintain_order=True)
    )
    if frame.is_empty():
        return None
    start: datetime = frame["at"][0]
    position = ((frame["at"] - start).dt.total_microseconds() / (step / timedelta(microseconds=1))).round()
    index = position.cast(pl.Int64).to_numpy()
    last = int(index[-1]) if until is None else max(int(index[-1]), (until - start) // step)
    found = np.full(last + 1, np.nan)
    found[index] = frame["value"].to_numpy()
    is_observed = np.isfinite(found)
    week = max(round(WEEK / step), 2)
    for gap in np.flatnonzero(~is_observed):
        found[gap] = found[gap - week] if gap >= week else found[gap - 1]
    return Series(found, is_observed, start, step)


def windows(values: Values, length: int, ends: NDArray[np.int64]) -> Values:
    """The `length` values before each end: shape (ends, length)."""
    return np.lib.stride_tricks.sliding_window_view(values, length)[ends - length]
