"""Failures recalled and alerts that were right, counted as a maintenance engineer counts them.

Definitions (they stand in every model card):

- An **event** is a failure of a machine. It is **recalled** when at least one alert stands in the horizon
  before it. Only failures whose whole horizon was observed are counted.
- Alerts of one machine within the cool-down that its first alert starts are one **alert event**. The
  cool-down does not prolong itself, so a model that always alarms pays for it once per cool-down.
- An alert event is **right** when the machine fails within the horizon that follows its first alert.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

HOURS_PER_MONTH = 730.5


@dataclass(frozen=True)
class ObservedHours:
    """Machine-hours in integers, so that a hundred thresholds can be scored quickly.

    Attributes:
        machine: Index of the machine per row, ascending.
        hour: Hours since the epoch per row, ascending within a machine.
        failure_hours: For each machine, its failures in hours since the epoch (fractions allowed).
        horizon_h: Horizon in hours; the cool-down is the same, since an alert speaks for that long.
    """

    machine: np.ndarray
    hour: np.ndarray
    failure_hours: tuple[np.ndarray, ...]
    horizon_h: float

    @property
    def machine_count(self) -> int:
        """Number of machines."""
        return len(self.failure_hours)


@dataclass(frozen=True)
class EventScore:
    """Counts of one alert rule over one set of observed hours."""

    failures: int
    recalled: int
    alert_events: int
    right_alert_events: int
    machine_months: float

    @property
    def recall(self) -> float:
        """Share of failures with an alert in the horizon before; NaN without failures."""
        return self.recalled / self.failures if self.failures else float("nan")

    @property
    def precision(self) -> float:
        """Share of alert events followed by a failure within the horizon; NaN without alerts."""
        return self.right_alert_events / self.alert_events if self.alert_events else float("nan")

    @property
    def false_alarms_per_machine_month(self) -> float:
        """Alert events that no failure followed, per machine and month."""
        return (self.alert_events - self.right_alert_events) / max(self.machine_months, 1e-9)

    def f_score(self, beta: float = 1.0) -> float:
        """Weighted harmonic mean of precision and recall; 0 where either is undefined.

        >>> EventScore(10, 8, 10, 8, 1.0).f_score()
        0.8
        """
        if not self.recalled or not self.right_alert_events:
            return 0.0
        weight = beta * beta
        return round(
            (1 + weight) * self.precision * self.recall / (weight * self.precision + self.recall), 12
        )


def observe(keys: pl.DataFrame, failures: pl.DataFrame, horizon: timedelta) -> ObservedHours:
    """Index the rows of predictions by machine and hour.

    Args:
        keys: `equipment_id`, `hour_at`, sorted by both.
        failures: `equipment_id`, `failure_at`.
        horizon: How far ahead a failure counts.
    """
    machines = keys["equipment_id"].unique(maintain_order=True).to_list()
    index = {machine: position for position, machine in enumerate(machines)}
    machine = keys["equipment_id"].replace_strict(index, return_dtype=pl.Int64).to_numpy()
    hour = keys["hour_at"].dt.epoch("s").to_numpy() // 3600
    by_machine: list[list[float]] = [[] for _ in machines]
    at = failures.select("equipment_id", pl.col("failure_at").dt.epoch("us") / 3.6e9).sort("failure_at")
    for equipment_id, instant in at.iter_rows():
        if equipment_id in index:
            by_machine[index[equipment_id]].append(float(instant))
    hours = tuple(np.asarray(found, dtype=np.float64) for found in by_machine)
    return ObservedHours(machine, hour, hours, horizon / timedelta(hours=1))


def score_events(observed: ObservedHours, is_alert: np.ndarray) -> EventScore:
    """Count events and alert events.

    Args:
        observed: Rows in order.
        is_alert: Shape (rows,), bool.
    """
    bounds = np.searchsorted(observed.machine, np.arange(observed.machine_count + 1))
    failures = recalled = alerts = right = 0
    for position, at in enumerate(observed.failure_hours):
        rows = slice(bounds[position], bounds[position + 1])
        hours = observed.hour[rows]
        alert_hours = hours[is_alert[rows]]
        counted = at[(at - observed.horizon_h >= hours[0]) & (at <= hours[-1] + 1)]
        # An alert at h stands before a failure at f when f - horizon <= h < f.
        first = np.searchsorted(alert_hours, counted - observed.horizon_h, side="left")
        failures += len(counted)
        recalled += int((np.searchsorted(alert_hours, counted, side="left") > first).sum())
        starts = _alert_starts(alert_hours, observed.horizon_h)
        upcoming = np.searchsorted(at, starts, side="right")
        reached = np.append(at, np.inf)[upcoming] <= starts + observed.horizon_h
        alerts += len(starts)
        right += int(reached.sum())
    return EventScore(failures, recalled, alerts, right, len(observed.hour) / HOURS_PER_MONTH)


def _alert_starts(alert_hours: np.ndarray, cool_down_h: float) -> np.ndarray:
    starts: list[float] = []
    position = 0
    while position < len(alert_hours):
        start = float(alert_hours[position])
        starts.append(start)
        position = int(np.searchsorted(alert_hours, start + cool_down_h, side="left"))
    return np.asarray(starts, dtype=np.float64)
