"""Shifts of level between reference and window: of each sensor, of all together, of the score.

Daily medians without profile, against a null from resampling blocks of the reference's own days, so
that slow but usual wander does not count. Avoid meaning: the verdict gives it.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np

from ml.validation.readings import nan_median

BLOCK_DAYS = 3
LATE_DAYS = 4
RESAMPLES = 200
# Smallest null deviation, in reference deviations: a sensor of nearly no noise would alarm on nothing.
SMALLEST_NULL = 0.08
_SEED = 20150101


@dataclass(frozen=True)
class Shift:
    """How far the window's days lie from the reference's.

    Attributes:
        size: In reference deviations of single readings, shape (series,).
        late_size: The same over the window's last 4 days.
        late_z: z of `late_size`, shape (series,).
        z: `size` over its deviation under no change, shape (series,).
        steady_z: The same over at least the deviation that windows of the reference itself had, which
            grows with wear and other slow but usual change, shape (series,).
        ramp_gain: How much better a straight ramp that began in the reference explains the days than a
            step at the window's start: error of the step over error of the ramp, shape (series,).
    """

    size: np.ndarray
    late_size: np.ndarray
    late_z: np.ndarray
    z: np.ndarray
    steady_z: np.ndarray
    ramp_gain: np.ndarray


@dataclass(frozen=True)
class SharedShift:
    """The shift of all sensors together, along the directions in which they usually vary.

    Attributes:
        z: z of the first principal component.
        size: Its shift in its own daily deviations.
        moved: How many sensors shifted beyond 3 by their own z.
    """

    z: float
    size: float
    moved: int


def measure_shifts(daily: np.ndarray, reference_days: int, seed: int = _SEED) -> Shift:
    """Shift of each series of daily medians, shape (days, series); NaN days are skipped."""
    reference, window = daily[:reference_days], daily[reference_days:]
    centre = nan_median(reference, axis=0)
    size = nan_median(window, axis=0) - centre
    null = np.maximum(null_deviation(reference, len(window), seed), SMALLEST_NULL)
    late_size = nan_median(window[-LATE_DAYS:], axis=0) - centre
    late_null = np.maximum(null_deviation(reference, LATE_DAYS, seed), SMALLEST_NULL)
    return Shift(
        size=np.nan_to_num(size),
        late_size=np.nan_to_num(late_size),
        late_z=np.nan_to_num(late_size / late_null),
        z=np.nan_to_num(size / null),
        steady_z=np.nan_to_num(size / np.maximum(null, 1.2 * _usual_deviation(reference, len(window)))),
        ramp_gain=np.array(
            [_ramp_gain(daily[:, column], reference_days) for column in range(daily.shape[1])]
        ),
    )


def null_deviation(reference: np.ndarray, window_days: int, seed: int = _SEED) -> np.ndarray:
    """Root mean square of (median of a window − median of a reference) under no change, shape (series,).

    Both are drawn as blocks of whole days from the reference (moving block bootstrap, Künsch 1989).
    """
    days = len(reference)
    if days < 2 * BLOCK_DAYS:
        return np.full((reference.shape[1],), np.inf)
    rng = np.random.default_rng(seed)

    def draw(length: int) -> np.ndarray:
        starts = rng.integers(0, days - BLOCK_DAYS + 1, (RESAMPLES, -(-length // BLOCK_DAYS)))
        picked = (starts[:, :, None] + np.arange(BLOCK_DAYS)).reshape(RESAMPLES, -1)[:, :length]
        return nan_median(reference[picked], axis=1)

    difference = np.asarray(np.nan_to_num(draw(window_days) - draw(days)), dtype=np.float64)
    return cast("np.ndarray", np.sqrt((difference**2).mean(axis=0)))


def _usual_deviation(reference: np.ndarray, window_days: int) -> np.ndarray:
    """Root mean square distance of the reference's own windows from the rest of it, shape (series,)."""
    found: list[np.ndarray] = []
    for first in range(0, len(reference) - window_days + 1, 2):
        inside = np.zeros(len(reference), dtype=bool)
        inside[first : first + window_days] = True
        found.append(nan_median(reference[inside], axis=0) - nan_median(reference[~inside], axis=0))
    if not found:
        return np.full((reference.shape[1],), np.inf)
    distances = np.asarray(np.nan_to_num(np.stack(found)), dtype=np.float64)
    return cast("np.ndarray", np.sqrt((distances**2).mean(axis=0)))


def farthest_level(daily: np.ndarray, days: int) -> float:
    """How far the median of that many days in a row has been from the median of all.

    Args:
        daily: One series, shape (days,); NaN days are skipped.
        days: Length of the windows.
    """
    if len(daily) < days:
        return 0.0
    levels = nan_median(np.lib.stride_tricks.sliding_window_view(daily, days), axis=1)
    distances = np.abs(levels - nan_median(daily, axis=0))
    return float(np.nan_to_num(distances).max())


def measure_shared(daily: np.ndarray, reference_days: int, shift: Shift) -> SharedShift:
    """Shift along the first principal component of the reference's days, and how many sensors moved."""
    usable = ~np.isnan(daily[:reference_days]).all(axis=0)
    moved = int((np.abs(shift.z) > 3).sum())
    if usable.sum() < 2:
        return SharedShift(0.0, 0.0, moved)
    days = np.nan_to_num(daily[:, usable])
    spread = np.maximum(days[:reference_days].std(axis=0), SMALLEST_NULL)
    scaled = np.clip(days / spread, -12, 12)
    centred = scaled - scaled[:reference_days].mean(axis=0)
    _, _, axes = np.linalg.svd(centred[:reference_days], full_matrices=False)
    along = (centred @ axes[0])[:, None]
    found = measure_shifts(along / max(float(along[:reference_days].std()), 1e-9), reference_days)
    return SharedShift(float(found.z[0]), float(found.size[0]), moved)


def _ramp_gain(days: np.ndarray, reference_days: int) -> float:
    """Error of the best step at the window's start over that of the best ramp from an earlier day."""
    at = np.flatnonzero(~np.isnan(days))
    if len(at) < 12 or at[-1] < reference_days:
        return 0.0
    values = days[at]
    step = _left_over(values, (at >= reference_days).astype(np.float64))
    begins = range(5, reference_days - 9, 4)
    ramps = [_left_over(values, np.maximum(at - begin, 0) / 10.0) for begin in begins]
    return float(step / max(min(ramps, default=np.inf), 1e-9))


def _left_over(values: np.ndarray, regressor: np.ndarray) -> float:
    centred, x = values - values.mean(), regressor - regressor.mean()
    slope = float(x @ centred) / max(float(x @ x), 1e-9)
    residual = centred - slope * x
    return float(np.abs(residual).sum())
