"""The anomaly model of one machine: usual week, detector and scale, fitted on its normal hours."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.anomaly.detector import Detector, Values
from ml.anomaly.isolation import Isolation
from ml.anomaly.lagged_residual import LaggedResidual
from ml.anomaly.level_shift import LevelShift
from ml.anomaly.machine_rows import (
    DAY_ROWS,
    STATISTICS,
    MachineRows,
    UsualWeek,
    with_statistics,
)
from ml.anomaly.principal_components import PrincipalComponents
from ml.anomaly.running_extreme import TrainedExtreme
from ml.anomaly.threshold import ScoreScale, quantile_threshold

# The later part of normal time sets the threshold: the detector has not seen it, so its scores there are as
# large as they will be tomorrow. In the fitted part they are smaller.
FITTED_SHARE = 0.7
# Hours of smoothing: a shift, where the seconds of a test bed take 45 rows.
HOURLY_SMOOTHING = 6


@dataclass(frozen=True)
class Method:
    """A detector and what it is given.

    Attributes:
        make: A detector that is not fitted.
        has_statistics: Whether the last day's statistics stand beside the readings.
    """

    make: Callable[[], Detector]
    has_statistics: bool


METHODS: dict[str, Method] = {
    "level_shift": Method(lambda: LevelShift(DAY_ROWS), has_statistics=False),
    "lagged_residual": Method(lambda: LaggedResidual(smoothing=HOURLY_SMOOTHING), has_statistics=False),
    "principal_components": Method(PrincipalComponents, has_statistics=True),
    "isolation_forest": Method(Isolation, has_statistics=True),
    "running_extreme": Method(TrainedExtreme, has_statistics=True),
}


@dataclass(frozen=True)
class MachineModel:
    """A fitted model of one machine.

    Attributes:
        method: Key of `METHODS`.
        usual: Usual week.
        detector: Fitted.
        scale: From raw scores to 0 to 1.
    """

    method: str
    usual: UsualWeek
    detector: Detector
    scale: ScoreScale

    @property
    def context(self) -> int:
        """Rows before a row that its score depends on."""
        own = DAY_ROWS - 1 if METHODS[self.method].has_statistics else 0
        return own + self.detector.context

    def raw(self, rows: MachineRows) -> Values:
        """Raw scores, NaN for the first rows."""
        found = self.detector.score(self._inputs(rows))
        found[: self.context] = np.nan
        return found

    def score(self, rows: MachineRows) -> Values:
        """Scores from 0 to 1; 0.5 is the threshold."""
        return self.scale.score(self.raw(rows))

    def shares(self, rows: MachineRows) -> Values:
        """Share of each metric in each row's score: shape (rows, metrics)."""
        parts = np.nan_to_num(self.detector.contributions(self._inputs(rows)))
        metrics = len(rows.metrics)
        if METHODS[self.method].has_statistics:
            parts = parts.reshape(len(parts), 1 + len(STATISTICS), metrics).sum(axis=1)
        total = parts.sum(axis=1, keepdims=True)
        return np.divide(parts, total, out=np.zeros_like(parts), where=total > 0)

    def _inputs(self, rows: MachineRows) -> Values:
        relative = self.usual.relative(rows)
        return with_statistics(relative) if METHODS[self.method].has_statistics else relative


def fit_machine(rows: MachineRows, chosen: NDArray[np.bool_], method: str) -> MachineModel:
    """Fit on the chosen rows; the first of them teach, the rest set threshold and scale.

    Args:
        rows: All hours of the machine.
        chosen: Normal hours that may be learned from.
        method: Key of `METHODS`.
    """
    usual = UsualWeek.of(rows, chosen)
    made = METHODS[method]
    relative = usual.relative(rows)
    inputs = with_statistics(relative) if made.has_statistics else relative
    index = np.flatnonzero(chosen)
    taught = index[: max(int(FITTED_SHARE * len(index)), 1)]
    detector = made.make().fit(inputs[taught])
    raw = detector.score(inputs)
    held_out = raw[index[len(taught) :]]
    if not np.isfinite(held_out).any():
        held_out = raw[index]
    return MachineModel(method, usual, detector, ScoreScale.of(held_out, quantile_threshold(held_out)))
