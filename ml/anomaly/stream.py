"""One univariate stream learned while it runs: no training period, no labels, no parameter per stream.

Eight views of the stream are watched (the value, its last hour's mean, its steps, its deviation, the change
against the same time a week before, and how flat a day is). A view that breaks its own record by more than
a share of its range raises an alarm; alarms within the cool-down are one event and only its first is raised.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from ml.anomaly.running_extreme import RunningRange


@dataclass(frozen=True)
class StreamSettings:
    """What decides an alarm.

    Attributes:
        share: A record must be broken by this share of (maximum - median).
        short: Values of the short mean and deviation.
        cool_down: Values after an alarm that raise no further one.
    """

    share: float = 0.05
    short: int = 12
    cool_down: int = 48


class _Window:
    """Mean and deviation of the last values."""

    def __init__(self, length: int) -> None:
        self.values: deque[float] = deque(maxlen=max(length, 2))
        self._sum = self._squares = 0.0
        self._shift: float | None = None

    def add(self, value: float) -> None:
        if self._shift is None:
            self._shift = value  # sums of squares about a value near the mean keep their digits
        if len(self.values) == self.values.maxlen:
            oldest = self.values[0] - self._shift
            self._sum -= oldest
            self._squares -= oldest * oldest
        self.values.append(value)
        self._sum += value - self._shift
        self._squares += (value - self._shift) ** 2

    @property
    def is_full(self) -> bool:
        return len(self.values) == self.values.maxlen

    @property
    def mean(self) -> float:
        return (self._shift or 0.0) + self._sum / len(self.values)

    @property
    def deviation(self) -> float:
        mean = self._sum / len(self.values)
        return sqrt(max(self._squares / len(self.values) - mean * mean, 0.0))


class StreamDetector:
    """Scores one value after the other; a batch is the same calls in a loop.

    Args:
        values_per_day: Cadence of the stream, at least 1.
        settings: What decides an alarm.
    """

    def __init__(self, values_per_day: int, settings: StreamSettings | None = None) -> None:
        self._settings = settings or StreamSettings()
        self._day = _Window(max(values_per_day, 2))
        self._short = _Window(self._settings.short)
        self._week: deque[float] = deque(maxlen=7 * max(values_per_day, 1))
        self._weekly_change = _Window(self._settings.short)
        self._ranges: dict[str, RunningRange] = {}
        self._last: float | None = None
        self._quiet_for = 0

    def update(self, value: float) -> tuple[float, bool]:
        """Score one value.

        Returns:
            Score from 0 to 1 (0.5 at the alarm's share), and whether it raises an alarm.
        """
        strength = max(
            (
                self._ranges.setdefault(name, RunningRange()).exceedance(found)
                for name, found in self._views(value).items()
            ),
            default=0.0,
        )
        is_beyond = strength > self._settings.share
        is_alarm = is_beyond and self._quiet_for == 0
        self._quiet_for = self._settings.cool_down - 1 if is_alarm else max(self._quiet_for - 1, 0)
        return strength / (strength + self._settings.share), is_alarm

    def _views(self, value: float) -> dict[str, float]:
        found = {"above": value, "below": -value}
        if self._last is not None:
            found["step"] = abs(value - self._last)
        self._last = value
        for window in (self._short, self._day):
            window.add(value)
        if self._short.is_full:
            found |= {
                "mean_above": self._short.mean,
                "mean_below": -self._short.mean,
                "deviation": self._short.deviation,
            }
        if self._day.is_full:
            found["flatness"] = -self._day.deviation
        if len(self._week) == self._week.maxlen:
            self._weekly_change.add(value - self._week[0])
            if self._weekly_change.is_full:
                found["weekly_change"] = abs(self._weekly_change.mean)
        self._week.append(value)
        return found


def alarms(
    values: Iterable[float], values_per_day: int, settings: StreamSettings | None = None
) -> NDArray[np.bool_]:
    """Alarms of a whole stream."""
    detector = StreamDetector(values_per_day, settings)
    return np.array([detector.update(float(value))[1] for value in values], dtype=bool)
