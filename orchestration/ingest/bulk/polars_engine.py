"""The bulk jobs in Polars: one machine's memory, no other process.

Add a job here and in `spark_engine` at once. Avoid reading and writing: `silver` does both.
"""

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from orchestration.ingest.bulk.plan import DEVIATION_OF_MAD, BulkPlan

_ORDER = ("known_at", "kafka_partition", "kafka_offset")


def run(rows: pl.DataFrame, plan: BulkPlan) -> Mapping[str, pl.DataFrame]:
    """All outputs of a plan.

    Args:
        rows: `bronze.<table>`: keys, event time, metrics, `known_at`, `kafka_partition`, `kafka_offset`.
        plan: What to do.

    Returns:
        A frame per name of `plan.OUTPUTS`.
    """
    cleansed = cleanse(rows, plan)
    return {
        "cleansed": cleansed,
        "features": features(cleansed, plan),
        "daily": aggregates(cleansed, plan, "1d", "day_at"),
        "weekly": aggregates(cleansed, plan, "1w", "week_at"),
    }


def cleanse(rows: pl.DataFrame, plan: BulkPlan) -> pl.DataFrame:
    """One row per machine and instant (the first known), outliers as null, rows without a value gone.

    `dropped_values` counts the row's outliers.
    """
    keys, metrics = list(plan.keys), list(plan.metrics)
    first = (
        rows.select(*keys, plan.event_time, *metrics, *_ORDER)
        .sort(_ORDER)
        .unique([*keys, plan.event_time], keep="first", maintain_order=True)
    )
    finite = first.with_columns(pl.when(pl.col(name).is_finite()).then(pl.col(name)) for name in metrics)
    outlying = [_is_outlying(name, plan).alias(f"__{name}") for name in metrics]
    flagged = finite.with_columns(outlying)
    cleansed = flagged.with_columns(
        pl.when(~pl.col(f"__{name}")).then(pl.col(name)).alias(name) for name in metrics
    ).with_columns(
        pl.sum_horizontal(pl.col(f"__{name}").cast(pl.Int32) for name in metrics)
        .cast(pl.Int32)
        .alias("dropped_values")
    )
    return (
        cleansed.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in metrics))
        .select(*keys, plan.event_time, *metrics, "dropped_values", "known_at")
        .sort(*keys, plan.event_time)
    )


def features(cleansed: pl.DataFrame, plan: BulkPlan) -> pl.DataFrame:
    """Hourly means with rolling means and deviations, and the calendar of the hour.

    An hour is named by its end: `(hour_at - 1 h, hour_at]`; a window ends with its row.
    """
    keys, metrics = list(plan.keys), list(plan.metrics)
    hour_at = (pl.col(plan.event_time) - timedelta(microseconds=1)).dt.truncate("1h") + timedelta(hours=1)
    hours = (
        cleansed.with_columns(hour_at.alias("hour_at"))
        .group_by(*keys, "hour_at")
        .agg(*(pl.col(name).mean().alias(f"{name}_mean") for name in metrics))
        .sort(*keys, "hour_at")
    )
    rolled: list[pl.Expr] = []
    for name in metrics:
        mean = pl.col(f"{name}_mean")
        for hours_long in plan.windows_h:
            window = f"{hours_long}h"
            rolled.append(mean.rolling_mean_by("hour_at", window).over(keys).alias(f"{name}_mean_{window}"))
            rolled.append(mean.rolling_std_by("hour_at", window).over(keys).alias(f"{name}_std_{window}"))
    return hours.with_columns(
        *rolled,
        pl.col("hour_at").dt.hour().cast(pl.Int32).alias("hour_of_day"),
        pl.col("hour_at").dt.weekday().cast(pl.Int32).alias("day_of_week"),
        pl.col("hour_at").dt.month().cast(pl.Int32).alias("month"),
        (pl.col("hour_at").dt.weekday() > 5).alias("is_weekend"),
    )


def aggregates(cleansed: pl.DataFrame, plan: BulkPlan, every: str, name: str) -> pl.DataFrame:
    """Readings, mean, deviation, least and greatest value per machine and day or week (from Monday)."""
    statistics: list[pl.Expr] = []
    for metric in plan.metrics:
        value = pl.col(metric)
        statistics += [
            value.mean().alias(f"{metric}_mean"),
            value.std().alias(f"{metric}_std"),
            value.min().alias(f"{metric}_min"),
            value.max().alias(f"{metric}_max"),
        ]
    return (
        cleansed.with_columns(pl.col(plan.event_time).dt.truncate(every).alias(name))
        .group_by(*plan.keys, name)
        .agg(pl.len().cast(pl.Int64).alias("reading_count"), *statistics)
        .sort(*plan.keys, name)
    )


def _is_outlying(name: str, plan: BulkPlan) -> pl.Expr:
    keys = list(plan.keys)
    distance = (pl.col(name) - pl.col(name).median().over(keys)).abs()
    limit = plan.outlier_deviations * DEVIATION_OF_MAD * distance.median().over(keys)
    # A metric that stands still has no spread to judge by.
    return ((limit > 0) & (distance > limit)).fill_null(value=False)
