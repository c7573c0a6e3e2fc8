"""Resource metrics beside the logs: robust z of each source's own level.

Add a metric's floor here when its unit needs one. Avoid reading files: replays and services bring points.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from orchestration.ingest.logs.evidence import Evidence, MetricPoint
from orchestration.ingest.logs.tails import level_score
from orchestration.ingest.signals import SignalKind

SPIKE_THRESHOLD = 3.0
"""Least robust z that is worth a word: the mission's."""
REFRESH_EVERY = 10
WARM_UP_POINTS = 15
KEPT_POINTS = 240
RELATIVE_FLOOR = 0.25
"""A level's spread is at least a quarter of it: services that idle have spreads near zero."""
FLOORS = {"cpu_millicores": 3.0, "memory_mib": 16.0}
DEGREES = 3.0
"""Degrees of freedom of the tail: a pod's CPU reaches 15 robust deviations a few times a day by itself
(garbage collection, class loading), a hogged CPU 200 and more."""


@dataclass
class _Level:
    """Past values of one metric with their median and spread, refreshed every few values."""

    values: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_POINTS))
    usual: float = 0.0
    spread: float = 0.0
    until_refresh: int = 0

    def add(self, value: float) -> None:
        self.values.append(value)
        self.until_refresh -= 1
        if self.until_refresh <= 0:
            past = np.fromiter(self.values, dtype=np.float64)
            self.usual = float(np.median(past))
            self.spread = 1.4826 * float(np.median(np.abs(past - self.usual)))
            self.until_refresh = min(REFRESH_EVERY, past.size // 2)


@dataclass
class ResourceHistory:
    """Levels of each source's metrics while nothing was wrong with them."""

    levels: dict[tuple[str, str], _Level] = field(default_factory=dict[tuple[str, str], _Level])

    def judge(self, points: Iterable[MetricPoint]) -> list[Evidence]:
        """How high values are for their sources; nothing is said before 15 values are known."""
        found: list[Evidence] = []
        for point in points:
            level = self.levels.get((point.source, point.metric))
            if level is None or len(level.values) < WARM_UP_POINTS:
                continue
            floor = max(FLOORS.get(point.metric, 0.0), RELATIVE_FLOOR * abs(level.usual))
            z = (point.value - level.usual) / max(level.spread, floor, 1e-12)
            if z < SPIKE_THRESHOLD:
                continue
            numbers = {"metric": point.metric, "value": point.value, "usual": level.usual}
            found.append(
                Evidence(
                    SignalKind.RESOURCE,
                    point.source,
                    float(level_score(z, DEGREES)),
                    f"{point.source}: {point.metric} is {point.value:.0f}, usually {level.usual:.0f} "
                    f"(robust z {z:.0f})",
                    numbers={**numbers, "robust_z": round(z, 1)},
                )
            )
        return found

    def learn(self, points: Iterable[MetricPoint], without: frozenset[str] = frozenset()) -> None:
        """Take values into the history, except those of sources that look wrong."""
        for point in points:
            if point.source not in without:
                self.levels.setdefault((point.source, point.metric), _Level()).add(point.value)
