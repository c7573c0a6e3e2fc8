"""One machine's hours as detector input: readings against their usual value at that hour of the week.

Hour of day and day of week enter through that usual value; mean, deviation and skewness over the last day
stand beside the readings. Add a column here when detectors need it. Avoid scaling: detectors do their own.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.anomaly.detector import Values
from ml.datasets.labels import in_incidents
from ml.features.history import HOUR, PlantHistory

HOURS_PER_WEEK = 168
DAY_ROWS = 24
# A metric that is missing in more than a fifth of a machine's hours is no input for that machine.
LEAST_PRESENT = 0.8
LEAST_ROWS = 2 * HOURS_PER_WEEK
# What leads to a failure is not normal time, nor are the hours of repair and running in after it.
BEFORE_FAILURE = timedelta(hours=48)
AFTER_FAILURE = timedelta(hours=24)
# A weekly rhythm must take away this much of a metric's scatter; the medians of a few weeks always take some,
# and on a machine without rhythm they only add noise.
RHYTHM = 0.7
STATISTICS = ("mean_24h", "deviation_24h", "skewness_24h")


@dataclass(frozen=True)
class MachineRows:
    """Hours of one machine in which all its metrics were measured.

    Attributes:
        equipment_id: Machine.
        equipment_model: Its class.
        hour_at: End of each hour, ascending, UTC.
        metrics: Names of the sensors.
        readings: Shape (rows, metrics): hourly means.
        is_normal: Outside incidents and away from failures.
        failures: Instants of failures.
    """

    equipment_id: str
    equipment_model: str
    hour_at: pl.Series
    metrics: tuple[str, ...]
    readings: Values
    is_normal: NDArray[np.bool_]
    failures: tuple[datetime, ...]

    @property
    def place_in_week(self) -> NDArray[np.int64]:
        """Hour of the week of each row, 0 to 167."""
        days = self.hour_at.dt.weekday().to_numpy().astype(np.int64) - 1
        return days * 24 + self.hour_at.dt.hour().to_numpy()


def machine_rows(history: PlantHistory) -> list[MachineRows]:
    """Every machine with two weeks of hours or more, in order of its id."""
    hours = history.metrics.sort("equipment_id", "hour_at")
    keys = hours.select("equipment_id", "hour_at")
    is_normal = ~in_incidents(keys, history.incidents).to_numpy()
    hours = hours.with_columns(pl.Series("is_outside_incidents", is_normal))
    models = dict(history.equipment.select("equipment_id", "equipment_model").iter_rows())
    failures = history.failures
    found: list[MachineRows] = []
    for (equipment_id,), of_machine in hours.group_by("equipment_id", maintain_order=True):
        instants = tuple(failures.filter(pl.col("equipment_id") == equipment_id)["failure_at"].to_list())
        rows = _rows(str(equipment_id), models.get(str(equipment_id)) or "", of_machine, instants)
        if rows is not None:
            found.append(rows)
    return found


def _rows(
    equipment_id: str, model: str, hours: pl.DataFrame, failures: tuple[datetime, ...]
) -> MachineRows | None:
    columns = [
        name
        for name in hours.columns
        if name.endswith("_mean") and hours[name].is_finite().sum() >= LEAST_PRESENT * hours.height
    ]
    whole = (
        hours.drop_nulls(columns).filter(pl.all_horizontal(pl.col(columns).is_finite())) if columns else hours
    )
    if not columns or whole.height < LEAST_ROWS:
        return None
    is_normal = whole["is_outside_incidents"].to_numpy().copy()
    for failed_at in failures:
        near = whole["hour_at"].is_between(failed_at - BEFORE_FAILURE, failed_at + AFTER_FAILURE + HOUR)
        is_normal &= ~near.to_numpy()
    return MachineRows(
        equipment_id=equipment_id,
        equipment_model=model,
        hour_at=whole["hour_at"],
        metrics=tuple(name.removesuffix("_mean") for name in columns),
        readings=whole.select(columns).to_numpy().astype(np.float64),
        is_normal=is_normal,
        failures=failures,
    )


@dataclass(frozen=True)
class UsualWeek:
    """Usual value of each metric at each hour of the week, and its spread over all hours.

    Attributes:
        level: Shape (168, metrics).
        spread: Shape (metrics,): interquartile range of what is left, as a standard deviation.
    """

    level: Values
    spread: Values

    @classmethod
    def of(cls, rows: MachineRows, chosen: NDArray[np.bool_]) -> "UsualWeek":
        """Learn from the chosen rows; an hour of the week that they lack takes the overall median."""
        readings, place = rows.readings[chosen], rows.place_in_week[chosen]
        level = np.tile(np.median(readings, axis=0), (HOURS_PER_WEEK, 1))
        for hour in np.unique(place):
            level[hour] = np.median(readings[place == hour], axis=0)
        around_level = np.abs(readings - level[place]).mean(axis=0)
        around_median = np.abs(readings - np.median(readings, axis=0)).mean(axis=0)
        has_rhythm = around_level < RHYTHM * around_median
        level = np.where(has_rhythm, level, np.median(readings, axis=0))
        quartiles = np.quantile(readings - level[place], [0.25, 0.75], axis=0)
        spread = (quartiles[1] - quartiles[0]) / 1.349
        floor = 1e-6 * (1.0 + np.abs(readings).max(axis=0))
        return cls(level, np.maximum(spread, floor))

    def relative(self, rows: MachineRows) -> Values:
        """Readings in spreads from their usual value; bounded, since a stopped machine is no further off."""
        return np.clip((rows.readings - self.level[rows.place_in_week]) / self.spread, -20.0, 20.0)


def with_statistics(relative: Values) -> Values:
    """Readings, then mean, deviation and skewness over the last day: shape (rows, 4 × metrics).

    The first day's rows take what there is at its end, so that no row is undefined.
    """
    if len(relative) < DAY_ROWS:
        return np.hstack([relative, np.zeros((len(relative), 3 * relative.shape[1]))])
    windows = np.lib.stride_tricks.sliding_window_view(relative, DAY_ROWS, axis=0)
    mean, deviation = windows.mean(axis=-1), windows.std(axis=-1)
    centred = windows - mean[..., None]
    skewness = (centred**3).mean(axis=-1) / np.maximum(deviation, 1e-6) ** 3
    parts = [np.pad(part, ((DAY_ROWS - 1, 0), (0, 0)), mode="edge") for part in (mean, deviation, skewness)]
    return np.hstack([relative, *parts])
