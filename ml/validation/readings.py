"""The readings that one judgement is made on: a reference period and the window after it, on one grid.

Profiles of the day and the week are removed here, since a night shift is no drift. Avoid judging.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Share of variance that a profile must remove on weeks that it was not made from.
_PROFILE_EARNS = 0.05
_SMALLEST_SPREAD = 1e-9


@dataclass(frozen=True)
class Readings:
    """One machine's readings: the reference first, then the window.

    Attributes:
        metrics: Names of the sensors, in the order of the columns.
        values: Shape (steps, metrics), NaN where missing or excluded by the incident calendar.
        reference_steps: Steps of the reference period; the rest is the window.
        steps_per_day: Steps in a day.
        lowest: Physical lower bound of each metric, -inf where there is none.
        highest: Physical upper bound, inf where there is none.
        delay_h: Hours from a reading's own time to when it was known, shape (steps,); None if unknown.
    """

    metrics: tuple[str, ...]
    values: np.ndarray
    reference_steps: int
    steps_per_day: int
    lowest: np.ndarray
    highest: np.ndarray
    delay_h: np.ndarray | None = None

    @property
    def reference(self) -> np.ndarray:
        """Values of the reference, shape (reference steps, metrics)."""
        return self.values[: self.reference_steps]

    @property
    def window(self) -> np.ndarray:
        """Values of the window, shape (window steps, metrics)."""
        return self.values[self.reference_steps :]

    @cached_property
    def centred(self) -> np.ndarray:
        """Values without their daily or weekly profile and reference level, in units of `spread`."""
        return (self.values - self.profile) / self.spread

    @cached_property
    def spread(self) -> np.ndarray:
        """Robust deviation of each metric in the reference, profile removed, shape (metrics,)."""
        return _spread((self.values - self.profile)[: self.reference_steps])

    @cached_property
    def daily(self) -> np.ndarray:
        """Median of each day's working steps of `centred`, shape (days, metrics); NaN for days without."""
        days = len(self.values) // self.steps_per_day
        working = np.where(self.is_at_rest[:, None], np.nan, self.centred)
        cut = working[: days * self.steps_per_day].reshape(days, self.steps_per_day, -1)
        return nan_median(cut, axis=1)

    @cached_property
    def is_at_rest(self) -> np.ndarray:
        """Steps at which the machine stands, shape (steps,): a sensor holds the value that it rests at.

        That is one value in a tenth of the reference or more, and for hours in a row.
        """
        at_rest = np.zeros(len(self.values), dtype=bool)
        for column in range(len(self.metrics)):
            present = self.reference[:, column][~np.isnan(self.reference[:, column])]
            if not len(present):
                continue
            values, counts = np.unique(present, return_counts=True)
            rest = values[counts.argmax()]
            is_rest = self.reference[:, column] == rest
            begins = max(int((is_rest[1:] & ~is_rest[:-1]).sum()), 1)
            if 0.1 * len(present) < counts.max() < 0.95 * len(present) and counts.max() / begins > 5:
                at_rest |= self.values[:, column] == rest
        return at_rest

    @property
    def reference_days(self) -> int:
        """Days of the reference."""
        return self.reference_steps // self.steps_per_day

    @property
    def window_days(self) -> int:
        """Days of the window."""
        return len(self.values) // self.steps_per_day - self.reference_days

    @cached_property
    def profile(self) -> np.ndarray:
        """Usual value of each step by time of day and week, shape (steps, metrics)."""
        reference, steps = self.reference, len(self.values)
        level = np.broadcast_to(nan_median(reference, axis=0), self.values.shape).copy()
        for period in (self.steps_per_day, 7 * self.steps_per_day):
            for column in range(reference.shape[1]):
                gain = _gain(reference[:, column], period, level[: len(reference), column])
                if gain > _PROFILE_EARNS:
                    slots = _slots(reference[:, column], period)
                    level[:, column] = np.resize(slots, steps)
        return level


def nan_median(values: np.ndarray, axis: int) -> np.ndarray:
    """Median over an axis without warnings: NaN where nothing is there."""
    if not np.isnan(values).any():
        # Most calls; ordering the missing ones last is half of what a judgement would cost.
        return np.asarray(np.median(values, axis=axis))
    ordered = np.sort(values, axis=axis)  # NaN last
    counted = (~np.isnan(values)).sum(axis=axis, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum((counted - 1) // 2, 0), axis=axis)
    high = np.take_along_axis(ordered, np.minimum(counted // 2, ordered.shape[axis] - 1), axis=axis)
    middle = np.where(counted > 0, (low + high) / 2, np.nan)
    return np.squeeze(middle, axis=axis)


def _spread(values: np.ndarray) -> np.ndarray:
    # Machines that stand half of the time have a median deviation of nothing; the trimmed deviation
    # keeps the scale of their working hours.
    deviation = 1.4826 * nan_median(np.abs(values - nan_median(values, axis=0)), axis=0)
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(np.nan_to_num(values), (0.02, 0.98), axis=0)
    trimmed = np.nanstd(np.clip(np.nan_to_num(values), low, high), axis=0)
    return np.maximum(np.maximum(deviation, 0.7 * trimmed), _SMALLEST_SPREAD)


def _slots(values: np.ndarray, period: int) -> np.ndarray:
    padded = np.full(-(-len(values) // period) * period, np.nan)
    padded[: len(values)] = values
    slots = nan_median(padded.reshape(-1, period), axis=0)
    return np.where(np.isnan(slots), nan_median(values[:, None], axis=0), slots)


def _gain(values: np.ndarray, period: int, level: np.ndarray) -> float:
    """Share of absolute deviation that a profile removes on the periods that it was not made from."""
    periods = len(values) // period
    if periods < 4:
        return 0.0
    cut = values[: periods * period].reshape(periods, period)
    kept = level[: periods * period].reshape(periods, period)
    before = after = 0.0
    for half in (0, 1):
        slots = nan_median(cut[half::2], axis=0)
        before += float(np.nansum(np.abs(cut[1 - half :: 2] - kept[1 - half :: 2])))
        after += float(np.nansum(np.abs(cut[1 - half :: 2] - slots)))
    return 1.0 - after / before if before > 0 else 0.0
