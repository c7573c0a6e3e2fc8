"""Judge anomaly alerts without any label on a folder in the form of the Azure predictive-maintenance set.

Each machine is compared with its own past: the mean of each sensor over the last day against level and
spread of everything up to a day before, learned anew each day after a warm-up of a week. Failures are read
by the score only. With error counts as an input an alert also needs an error in the last day.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.anomaly.detector import Values
from ml.anomaly.level_shift import LevelShift
from ml.datasets.azure_pdm import METRICS, read_azure_pdm
from ml.evaluation.intervals import wilson
from ml.features.history import PlantHistory

HOUR_US = 3_600_000_000
WARM_UP_ROWS = 7 * 24
LAG_ROWS = 24
LEAD = timedelta(hours=48)
COOL_DOWN_H = 48
ERROR_WINDOW_H = 24
HOURS_PER_MONTH = 720
# Five standard errors of a day's mean. Hours follow each other closely, so a day's mean is less certain
# than 24 independent hours would make it, and three standard errors alarm five times a month.
THRESHOLD = 5.0
CURVE = (3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0)


@dataclass(frozen=True)
class OperatingPoint:
    """What one threshold gives.

    Attributes:
        threshold: In standard errors of a day's mean.
        failures: Failures after the warm-up.
        failures_seen: Those with an alert in the 48 h before.
        failures_seen_percent: As a share.
        alerts: Alerts, one per 48 h and machine at most.
        alerts_per_machine_month: Per 720 machine-hours after the warm-up.
        alert_precision: Share of alerts with a failure in the 48 h after.
    """

    threshold: float
    failures: int
    failures_seen: int
    failures_seen_percent: float
    alerts: int
    alerts_per_machine_month: float
    alert_precision: float


@dataclass(frozen=True)
class UnlabelledReport:
    """The stated operating point with error counts, and both curves."""

    point: OperatingPoint
    with_errors: tuple[OperatingPoint, ...]
    without_errors: tuple[OperatingPoint, ...]

    def to_json(self) -> dict[str, Any]:
        """Keys as the command prints them."""
        share = wilson(self.point.failures_seen, self.point.failures)
        return {
            **asdict(self.point),
            "failures_seen_percent_low": round(100 * share.low, 2),
            "failures_seen_percent_high": round(100 * share.high, 2),
            "curve_with_error_counts": [asdict(point) for point in self.with_errors],
            "curve_without_error_counts": [asdict(point) for point in self.without_errors],
        }


@dataclass(frozen=True)
class _Machine:
    hours: NDArray[np.int64]
    shift: Values
    has_error: NDArray[np.bool_]
    failures: NDArray[np.int64]


def judge_unlabelled(folder: Path) -> UnlabelledReport:
    """Alert on each machine of the unbroken telemetry and compare with its failures.

    Raises:
        AzurePdmFormatError: A file is missing.
    """
    history = read_azure_pdm(folder).replay
    machines = [
        found
        for equipment_id in history.metrics["equipment_id"].unique().sort().to_list()
        if (found := _machine(history, equipment_id)) is not None
    ]
    return UnlabelledReport(
        point=_operate(machines, THRESHOLD, needs_error=True),
        with_errors=tuple(_operate(machines, threshold, needs_error=True) for threshold in CURVE),
        without_errors=tuple(_operate(machines, threshold, needs_error=False) for threshold in CURVE),
    )


def day_shifts(values: Values) -> Values:
    """Shift of each row's last day against all rows up to a day before; NaN in the warm-up."""
    found = np.full(len(values), np.nan)
    for first in range(WARM_UP_ROWS, len(values), LAG_ROWS):
        last = min(first + LAG_ROWS, len(values))
        detector = LevelShift().fit(values[: first - LAG_ROWS])
        found[first:last] = detector.score(values[first - detector.context : last])[detector.context :]
    return found


def _machine(history: PlantHistory, equipment_id: str) -> _Machine | None:
    rows = history.metrics.filter(pl.col("equipment_id") == equipment_id).sort("hour_at")
    if rows.height <= WARM_UP_ROWS:
        return None
    hours = _hours(rows["hour_at"])
    events = history.events.filter(pl.col("equipment_id") == equipment_id)
    errors = np.sort(_hours(events.filter(pl.col("event_type") == "error")["event_at"]))
    failures = np.unique(_hours(events.filter(pl.col("event_type") == "failure")["event_at"]))
    recent = np.searchsorted(errors, hours, "right") - np.searchsorted(
        errors, hours - ERROR_WINDOW_H, "right"
    )
    values = rows.select(f"{metric}_mean" for metric in METRICS).to_numpy()
    judged = failures[(failures > hours[WARM_UP_ROWS]) & (failures <= hours[-1])]
    return _Machine(hours, day_shifts(values), recent > 0, judged)


def _operate(machines: Sequence[_Machine], threshold: float, *, needs_error: bool) -> OperatingPoint:
    lead = int(LEAD / timedelta(hours=1))
    seen = failures = alerts = followed = hours = 0
    for machine in machines:
        is_alert = machine.shift > threshold
        if needs_error:
            is_alert &= machine.has_error
        raised = _cooled_down(machine.hours[is_alert])
        alerts += len(raised)
        hours += int(np.isfinite(machine.shift).sum())
        failures += len(machine.failures)
        before = machine.failures[:, None] - raised[None, :]
        in_lead = (before >= 0) & (before <= lead)
        seen += int(in_lead.any(axis=1).sum())
        followed += int(in_lead.any(axis=0).sum())
    return OperatingPoint(
        threshold=threshold,
        failures=failures,
        failures_seen=seen,
        failures_seen_percent=round(100.0 * seen / failures, 2) if failures else float("nan"),
        alerts=alerts,
        alerts_per_machine_month=round(alerts * HOURS_PER_MONTH / max(hours, 1), 4),
        alert_precision=round(followed / alerts, 4) if alerts else float("nan"),
    )


def _cooled_down(hours: NDArray[np.int64]) -> NDArray[np.int64]:
    kept: list[int] = []
    for hour in hours.tolist():
        if not kept or hour - kept[-1] >= COOL_DOWN_H:
            kept.append(hour)
    return np.array(kept, dtype=np.int64)


def _hours(instants: pl.Series) -> NDArray[np.int64]:
    return instants.dt.epoch("us").to_numpy() // HOUR_US
