"""Features of a row from its unit's past alone: nothing of the unit's end and nothing of other units.

Sensors are first expressed in standard deviations of their operating condition, since a condition moves a
sensor more than a worn part does. Conditions are found by k-means on the settings.
"""

# scikit-learn leaves most of its signatures untyped.
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportArgumentType=false, reportOptionalMemberAccess=false

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.remaining_life.fleet import Fleet

Values = NDArray[np.float64]
MEANS = (5, 15, 30)
TRENDS = (15, 30)
DECAY = 0.1
OWN_START = 10  # cycles that say how a unit was when it was new
_MOST_CONDITIONS = 8
# Settings vary by noise within one condition; k-means over a single cloud would cut it anyway.
_CLEAR_SEPARATION = 0.9


@dataclass(frozen=True)
class Conditions:
    """Operating conditions of a fleet and each sensor's level and spread in them.

    Attributes:
        clusters: Fitted k-means on standardised settings; None with a single condition.
        setting_centre: Mean of each setting.
        setting_spread: Deviation of each setting.
        centre: Shape (conditions, sensors).
        spread: The same, 1 where a sensor does not move.
        kept: Sensors that move within some condition.
    """

    clusters: Any
    setting_centre: Values
    setting_spread: Values
    centre: Values
    spread: Values
    kept: NDArray[np.bool_]

    @classmethod
    def fit(cls, fleet: Fleet) -> "Conditions":
        """Find the conditions of a training fleet."""
        centre, spread = fleet.settings.mean(axis=0), fleet.settings.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        clusters, labels = _cluster((fleet.settings - centre) / spread)
        count = int(labels.max()) + 1
        levels = np.stack([fleet.sensors[labels == label].mean(axis=0) for label in range(count)])
        spreads = np.stack([fleet.sensors[labels == label].std(axis=0) for label in range(count)])
        moves = spreads > 1e-6 * (1.0 + np.abs(levels))
        return cls(clusters, centre, spread, levels, np.where(moves, spreads, 1.0), moves.mean(axis=0) > 0.5)

    def standardised(self, fleet: Fleet) -> Values:
        """Sensors in deviations of their condition: shape (rows, kept sensors)."""
        labels = np.zeros(len(fleet.unit), dtype=np.int64)
        if self.clusters is not None:
            labels = self.clusters.predict((fleet.settings - self.setting_centre) / self.setting_spread)
        scaled = (fleet.sensors - self.centre[labels]) / self.spread[labels]
        return np.clip(scaled[:, self.kept], -10.0, 10.0)


def features(fleet: Fleet, conditions: Conditions) -> NDArray[np.float32]:
    """Cycle and, per sensor, value, means, deviations, slopes, change from the own start, long means."""
    scaled = conditions.standardised(fleet)
    ends = np.append(fleet.starts[1:], len(fleet.unit))
    parts = [
        _of_unit(scaled[first:last], fleet.cycle[first:last])
        for first, last in zip(fleet.starts, ends, strict=True)
    ]
    return np.concatenate(parts).astype(np.float32)


def _of_unit(values: Values, cycle: Values) -> Values:
    columns = [cycle[:, None], values, *(_trailing(values, rows)[0] for rows in MEANS)]
    for rows in TRENDS:
        _, deviation, slope = _trailing(values, rows)
        columns += [deviation, slope]
    start = values[: min(OWN_START, len(values))]
    so_far = np.cumsum(values, axis=0) / np.arange(1, len(values) + 1)[:, None]
    own = np.minimum(np.arange(len(values)), len(start) - 1)
    columns += [so_far, _trailing(values, 5)[0] - so_far[own], _decayed(values)]
    return np.hstack(columns)


def _trailing(values: Values, rows: int) -> tuple[Values, Values, Values]:
    """Mean, deviation and slope per row over the last `rows` rows, or as many as there are."""
    count = np.minimum(np.arange(1, len(values) + 1), rows).astype(np.float64)[:, None]
    time = np.arange(len(values), dtype=np.float64)[:, None]

    def window_sum(of: Values) -> Values:
        total = np.cumsum(of, axis=0)
        total[rows:] -= total[:-rows].copy()
        return total

    of_x, of_xx = window_sum(values), window_sum(values**2)
    of_t, of_tt, of_tx = window_sum(time), window_sum(time**2), window_sum(time * values)
    mean = of_x / count
    variance = np.maximum(of_xx / count - mean**2, 0.0)
    of_time = of_tt - of_t**2 / count
    slope = np.where(of_time > 0, (of_tx - of_t * mean) / np.maximum(of_time, 1e-9), 0.0)
    return mean, np.sqrt(variance), slope


def _decayed(values: Values) -> Values:
    found = np.empty_like(values)
    level = values[0]
    for row, value in enumerate(values):
        level = level + DECAY * (value - level)
        found[row] = level
    return found


def _cluster(settings: Values) -> tuple[Any, NDArray[np.int64]]:
    """K-means with the number of conditions that explains nearly all of the settings' variance."""
    from sklearn.cluster import KMeans

    scatter = np.square(settings - settings.mean(axis=0)).sum()
    distinct = len(np.unique(settings, axis=0))
    for count in range(2, min(_MOST_CONDITIONS, distinct) + 1):
        clusters = KMeans(n_clusters=count, n_init=4, random_state=0).fit(settings)
        explained = 1.0 - clusters.inertia_ / scatter
        if explained > 1.0 - (1.0 - _CLEAR_SEPARATION) ** 3:
            return clusters, clusters.labels_.astype(np.int64)
    return None, np.zeros(len(settings), dtype=np.int64)
