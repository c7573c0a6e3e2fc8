"""Signs of a sensor fault that only other sensors show: duplicates, clocks, a broken relation.

Sensors of one machine share its load; what one of them should read follows from the others. Avoid
signs in a sensor's own values: those are `sensor_faults`.
"""

from dataclasses import dataclass

import numpy as np

from ml.validation.readings import Readings
from ml.validation.sensor_faults import DUPLICATE_CORRELATION, Problem, Sign

LONGEST_LAG = 8
LAG_GAIN = 0.12
SHORTEST_SKEW_H = 0.75
_RIDGE = 1e-2
_EXPLAINS = 0.35
_FEWEST_PAIRS = 60
_APART = 0.1
# A duplicate that began within the window shows in its last days.
DUPLICATE_DAYS = 5


@dataclass(frozen=True)
class Expected:
    """What each sensor should read from the others, fitted on the reference.

    Attributes:
        values: Shape (steps, metrics), in reference deviations; zeros where others say nothing.
        explained: Share of the reference's variance that the others explain, shape (metrics,).
    """

    values: np.ndarray
    explained: np.ndarray


def expect_from_peers(readings: Readings) -> Expected:
    """Ridge regression of each sensor on the others, raw values standardised on the reference."""
    z = _standardised(readings)
    filled = np.nan_to_num(np.clip(z, -6, 6))
    metrics = z.shape[1]
    values, explained = np.zeros_like(z), np.zeros(metrics)
    for column in range(metrics):
        others = np.delete(filled, column, axis=1)
        is_read = ~np.isnan(z[: readings.reference_steps, column])
        if others.shape[1] == 0 or is_read.sum() < _FEWEST_PAIRS:
            continue
        x, y = (
            others[: readings.reference_steps][is_read],
            filled[: readings.reference_steps, column][is_read],
        )
        weights = np.linalg.solve(x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y)
        values[:, column] = others @ weights
        residual = y - x @ weights
        explained[column] = 1.0 - float(residual @ residual) / max(float(y @ y), 1e-9)
    return Expected(values, explained)


def peer_signs(readings: Readings) -> list[Sign]:
    """Duplicates and clock skews; strengths below 0.5 are left out."""
    found = [*_duplicates(readings), *_clock_of_sensors(readings), *_clock_of_machine(readings)]
    return [sign for sign in found if sign.strength >= 0.5]


def _standardised(readings: Readings) -> np.ndarray:
    reference = readings.reference
    present = ~np.isnan(reference)
    counted = np.maximum(present.sum(axis=0), 1)
    mean = np.where(present, reference, 0).sum(axis=0) / counted
    spread = np.sqrt(np.where(present, (reference - mean) ** 2, 0).sum(axis=0) / counted)
    return (readings.values - mean) / np.maximum(spread, 1e-9)


def _duplicates(readings: Readings) -> list[Sign]:
    steps = np.diff(readings.values, axis=0)
    split = readings.reference_steps
    found: list[Sign] = []
    for first in range(len(readings.metrics)):
        for second in range(first + 1, len(readings.metrics)):
            before = _correlation(steps[:split, first], steps[:split, second])
            now = max(
                _correlation(steps[since:, first], steps[since:, second])
                for since in (split, -DUPLICATE_DAYS * readings.steps_per_day)
            )
            # Sensors that always move nearly together must lose nearly all that set them apart.
            needed = max(DUPLICATE_CORRELATION, 1.0 - _APART * (1.0 - before))
            if now < needed or before > 0.95 or np.isnan(before):
                continue
            # The one that left its own level carries the other's signal.
            moved = np.abs(np.nan_to_num(readings.daily[readings.reference_days :]).mean(axis=0))
            column, other = (first, second) if moved[first] >= moved[second] else (second, first)
            words = f"moves exactly like {readings.metrics[other]} ({now:.3f}; usual {before:.2f})"
            found.append(Sign(readings.metrics[column], Problem.DUPLICATE, now / needed, words))
    return found


def _clock_of_sensors(readings: Readings) -> list[Sign]:
    expected = expect_from_peers(readings)
    z, split = _standardised(readings), readings.reference_steps
    found: list[Sign] = []
    for column, metric in enumerate(readings.metrics):
        if expected.explained[column] < _EXPLAINS:
            continue
        before = _by_lag(z[:split, column], expected.values[:split, column])
        now = _by_lag(z[split:, column], expected.values[split:, column])
        usual, lag = int(np.argmax(before)), int(np.argmax(now))
        gain = now[lag] - now[usual]
        if (
            usual != lag
            and now[lag] > 0.5
            and _lasts(z[split:, column], expected.values[split:, column], usual, lag)
        ):
            words = f"runs {lag - usual:+d} readings against the other sensors"
            found.append(Sign(metric, Problem.CLOCK, float(gain) / LAG_GAIN, words))
    return found


def _lasts(values: np.ndarray, expected: np.ndarray, usual: int, lag: int) -> bool:
    """Whether the other lag is better in both halves of the window: hours of hard work move one alone."""
    half = len(values) // 2
    gains = [
        found[lag] - found[usual]
        for found in (_by_lag(values[:half], expected[:half]), _by_lag(values[half:], expected[half:]))
    ]
    return min(gains) > LAG_GAIN / 3


def _by_lag(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    lags = range(-LONGEST_LAG, LONGEST_LAG + 1)
    return np.array([_correlation(_lagged(values, lag), _lagged(expected, -lag)) for lag in lags])


def _lagged(values: np.ndarray, lag: int) -> np.ndarray:
    if lag == 0:
        return values
    return values[lag:] if lag > 0 else values[:lag]


def _clock_of_machine(readings: Readings) -> list[Sign]:
    if readings.delay_h is None:
        return []
    before, now = readings.delay_h[: readings.reference_steps], readings.delay_h[readings.reference_steps :]
    before, now = before[~np.isnan(before)], now[~np.isnan(now)]
    if len(before) < _FEWEST_PAIRS or len(now) < _FEWEST_PAIRS:
        return []
    # A clock moves every reading by the same hours; a slow network only some of them, and only later.
    low, high = np.quantile(now, (0.1, 0.5)) - np.quantile(before, (0.1, 0.5))
    skew = min(float(low), float(high), key=abs) if low * high > 0 else 0.0
    words = f"every reading known {skew:+.1f} h against its own time, other than usual"
    return [Sign("", Problem.CLOCK, abs(skew) / SHORTEST_SKEW_H, words)]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    both = ~np.isnan(first) & ~np.isnan(second)
    if both.sum() < _FEWEST_PAIRS:
        return float("nan") if both.sum() == 0 else 0.0
    a, b = first[both] - first[both].mean(), second[both] - second[both].mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
