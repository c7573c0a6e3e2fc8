"""From a plant's history to the model's input: the one implementation for training and serving."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from ml.features.history import PlantHistory
from ml.features.metrics import Metric, contract_metrics
from ml.features.occurrences import event_features
from ml.features.residuals import residual_features
from ml.features.specs import SEASON_NEEDS_DAYS, FeatureSet
from ml.features.windows import metric_features

# The longest window is 31 days (a 30-day baseline that ends 24 h before the row).
LOOK_BACK = timedelta(days=31)
# A row whose readings became known later than this after its hour's end was not there when the plant would
# have asked for a prediction, so no window may use it.
USUAL_DELAY = timedelta(hours=6)
# So many hours of one machine that become known within one hour are a bulk load: its known time says when
# somebody copied the history, not when the plant could have known. No buffer of a device holds a fortnight.
BULK_LOAD_HOURS = 336
# Machines are computed in groups of about this many rows: 876,000 rows at once took 3 GiB of sums.
ROWS_AT_ONCE = 150_000


@dataclass(frozen=True)
class FeatureFrame:
    """Feature values of a number of machine-hours.

    Attributes:
        keys: `equipment_id`, `hour_at`; one row per row of `values`, sorted by both.
        values: Shape (rows, features), float32, NaN where a value is missing.
        features: What the columns are.
    """

    keys: pl.DataFrame
    values: np.ndarray
    features: FeatureSet

    @property
    def names(self) -> tuple[str, ...]:
        """Column names of `values`."""
        return self.features.names


def feature_set_of(history: PlantHistory, metrics: tuple[Metric, ...] | None = None) -> FeatureSet:
    """Decide which features a tenant has: what it never measured or never saw gets no column.

    Args:
        history: History that training will use.
        metrics: Metrics to look for; the contract's by default.
    """
    declared = contract_metrics() if metrics is None else metrics
    present = tuple(metric for metric in declared if _has_values(history.metrics, metric.name))
    dropped = [
        (metric.name, f"no reading of tenant {history.tenant_id} has it")
        for metric in declared
        if metric not in present
    ]
    hours = history.metrics["hour_at"]
    first, last = hours.min(), hours.max()
    span = last - first if isinstance(first, datetime) and isinstance(last, datetime) else timedelta(0)
    has_season = span >= timedelta(days=SEASON_NEEDS_DAYS)
    if not has_season:
        dropped.append(("season", f"{span.days} days of history; the season needs {SEASON_NEEDS_DAYS}"))
    kinds = history.events
    work = pl.col("event_type").is_in(["component_replacement", "failure"])
    return FeatureSet(
        metrics=present,
        error_codes=_distinct(kinds.filter(pl.col("event_type") == "error"), "code"),
        components=_distinct(kinds.filter(work), "code"),
        equipment_models=_distinct(history.equipment, "equipment_model"),
        has_season=has_season,
        dropped=tuple(dropped),
    )


def build_features(history: PlantHistory, features: FeatureSet) -> FeatureFrame:
    """Compute every feature for every machine-hour of a history.

    Args:
        history: What was known; each row's windows look back only.
        features: Columns to make, from training.

    Returns:
        One row per machine and hour of `history.metrics`.
    """
    machines = history.metrics["equipment_id"].unique().sort()
    at_once = max(1, ROWS_AT_ONCE * len(machines) // max(history.metrics.height, 1))
    if len(machines) > at_once:
        parts = [
            build_features(_of_machines(history, machines[first : first + at_once]), features)
            for first in range(0, len(machines), at_once)
        ]
        keys = pl.concat([part.keys for part in parts])
        return FeatureFrame(keys, np.concatenate([part.values for part in parts]), features)
    return _build(history, features)


def _build(history: PlantHistory, features: FeatureSet) -> FeatureFrame:
    wanted = ["equipment_id", "hour_at", "known_at"]
    for metric in features.metrics:
        wanted += [f"{metric.name}_{statistic}" for statistic in ("mean", "min", "max")]
    missing = [name for name in wanted if name not in history.metrics.columns]
    hours = history.metrics.with_columns(pl.lit(None, pl.Float64).alias(name) for name in missing)
    hours = _without_late_hours(hours.select(wanted)).sort("equipment_id", "hour_at")
    keys = hours.select("equipment_id", "hour_at")
    happened = event_features(keys, history.events, features).drop("equipment_id", "hour_at")
    table = metric_features(hours, features.metrics).with_columns(*happened.get_columns())
    if len(features.metrics) > 1:
        table = table.with_columns(*residual_features(hours, features.metrics))
    table = table.join(history.equipment, on="equipment_id", how="left", maintain_order="left")
    angle = pl.col("hour_at").dt.ordinal_day() * (2 * np.pi / 365.25)
    table = table.with_columns(
        *(
            (pl.col("equipment_model") == model).cast(pl.Float64).alias(f"is_model_{model}")
            for model in features.equipment_models
        ),
        angle.sin().alias("season_sin"),
        angle.cos().alias("season_cos"),
    )
    values = table.select(pl.col(name).cast(pl.Float32) for name in features.names).to_numpy()
    return FeatureFrame(keys=keys, values=values.astype(np.float32, copy=False), features=features)


def features_at(
    history: PlantHistory, features: FeatureSet, equipment_id: str, hour_at: datetime
) -> FeatureFrame:
    """The features of one machine at one hour, from its look-back period alone.

    Raises:
        KeyError: The machine has no row for that hour.
    """
    frame = build_features(history.of_machine(equipment_id, hour_at - LOOK_BACK, hour_at), features)
    row = frame.keys.with_row_index().filter(pl.col("hour_at") == hour_at)["index"].to_list()
    if not row:
        raise KeyError(
            f"{history.tenant_id}/{equipment_id} has no readings in the hour to {hour_at:%Y-%m-%d %H:%M}"
        )
    return FeatureFrame(frame.keys[row], frame.values[row], features)


def _of_machines(history: PlantHistory, machines: pl.Series) -> PlantHistory:
    chosen = pl.col("equipment_id").is_in(machines.implode())
    return replace(
        history,
        metrics=history.metrics.filter(chosen),
        events=history.events.filter(chosen),
        equipment=history.equipment.filter(chosen),
    )


def count_late_hours(history: PlantHistory) -> int:
    """How many machine-hours no window uses because they became known too late."""
    return history.metrics.filter(_is_late()).height


def _is_late() -> pl.Expr:
    at_once = pl.len().over("equipment_id", pl.col("known_at").dt.truncate("1h"))
    return (pl.col("known_at") > pl.col("hour_at") + USUAL_DELAY) & (at_once < BULK_LOAD_HOURS)


def _without_late_hours(hours: pl.DataFrame) -> pl.DataFrame:
    metric_columns = [name for name in hours.columns if name not in ("equipment_id", "hour_at", "known_at")]
    kept = hours.with_columns(pl.when(~_is_late()).then(pl.col(metric_columns)).name.keep())
    return kept.drop("known_at")


def _has_values(frame: pl.DataFrame, metric: str) -> bool:
    column = f"{metric}_mean"
    return column in frame.columns and frame[column].null_count() < frame.height


def _distinct(frame: pl.DataFrame, column: str) -> tuple[str, ...]:
    return tuple(sorted(str(value) for value in frame[column].drop_nulls().unique().to_list()))
