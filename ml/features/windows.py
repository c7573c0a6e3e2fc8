"""Rolling features of the metrics: means, deviations, extremes, trends, change from a lagged baseline.

Windows are in time, not in rows, so a gap in the readings shortens a window and never stretches it.
A window ends with its row: `(hour_at - 24 h, hour_at]`.
"""

from collections.abc import Iterator

import polars as pl

from ml.features.metrics import Metric

_SUMS = ("3h", "12h", "24h", "7d", "31d")


def metric_features(hours: pl.DataFrame, metrics: tuple[Metric, ...]) -> pl.DataFrame:
    """Add the rolling features of every metric.

    Args:
        hours: One row per machine and hour, sorted by `equipment_id`, `hour_at`, with
            `<metric>_mean`, `<metric>_min` and `<metric>_max`.
        metrics: Metrics to expand over.

    Returns:
        `hours` without the metric's own columns, with the features of `specs` in their place;
        a feature is null where its window holds no value.
    """
    names = [metric.name for metric in metrics]
    one = pl.col("hour_at").is_not_null().cast(pl.Float64)
    sums = hours.with_columns(
        [expression for name in names for expression in _sums(name, _has_gaps(hours, name))]
        + [_rolling_sum(one, window).alias(f"__n_{window}") for window in _SUMS]
        + [expression for name in names for expression in _spreads(name)]
    )
    features = sums.with_columns(
        [expression for name in names for expression in _from_sums(name, _has_gaps(hours, name))]
    )
    largest = pl.max_horizontal(pl.col(f"{name}_z_24h").abs() for name in names)
    features = features.with_columns(largest.alias("largest_z_24h"))
    drop = [column for column in features.columns if column.startswith("__")]
    own = [f"{name}_{statistic}" for name in names for statistic in ("mean", "std", "min", "max")]
    return features.drop(drop + [column for column in own if column in hours.columns])


def _has_gaps(hours: pl.DataFrame, name: str) -> bool:
    return hours[f"{name}_mean"].null_count() > 0


def _rolling_sum(values: pl.Expr, window: str) -> pl.Expr:
    return values.rolling_sum_by("hour_at", window_size=window).over("equipment_id")


def _sums(name: str, has_gaps: bool) -> Iterator[pl.Expr]:
    mean = pl.col(f"{name}_mean")
    for window in _SUMS:
        yield _rolling_sum(mean.fill_null(0.0), window).alias(f"__{name}_s_{window}")
        if has_gaps:
            yield _rolling_sum(mean.is_not_null().cast(pl.Float64), window).alias(f"__{name}_n_{window}")


def _spreads(name: str) -> Iterator[pl.Expr]:
    mean = pl.col(f"{name}_mean")
    for window in ("24h", "7d"):
        deviation = mean.rolling_std_by("hour_at", window_size=window).over("equipment_id")
        yield deviation.alias(f"{name}_std_{window}")
    highest = pl.col(f"{name}_max").rolling_max_by("hour_at", window_size="24h")
    lowest = pl.col(f"{name}_min").rolling_min_by("hour_at", window_size="24h")
    usual_deviation = mean.rolling_std_by("hour_at", window_size="31d").over("equipment_id")
    yield usual_deviation.alias(f"__{name}_d_31d")
    yield highest.over("equipment_id").alias(f"{name}_max_24h")
    yield lowest.over("equipment_id").alias(f"{name}_min_24h")


def _from_sums(name: str, has_gaps: bool) -> Iterator[pl.Expr]:
    def total(window: str) -> pl.Expr:
        return pl.col(f"__{name}_s_{window}")

    def count(window: str) -> pl.Expr:
        return pl.col(f"__{name}_n_{window}" if has_gaps else f"__n_{window}")

    def mean(window: str) -> pl.Expr:
        return _ratio(total(window), count(window))

    def mean_before(longer: str, shorter: str) -> pl.Expr:
        """Mean of the longer window without the shorter one at its end."""
        return _ratio(total(longer) - total(shorter), count(longer) - count(shorter))

    for window in ("3h", "24h", "7d"):
        yield mean(window).alias(f"{name}_mean_{window}")
    yield (mean("12h") - mean_before("24h", "12h")).alias(f"{name}_trend_24h")
    yield (mean("24h") - mean_before("7d", "24h")).alias(f"{name}_trend_7d")
    baseline = mean_before("31d", "24h")
    # Near zero a relative change says nothing: a baseline of 0.0001 made "4,000 % above normal".
    relative = pl.when(baseline.abs() > 1e-3).then(mean("24h") / baseline - 1.0)
    yield relative.alias(f"{name}_change_30d")
    deviation = pl.col(f"__{name}_d_31d")
    in_deviations = pl.when(deviation > 0).then((mean("24h") - baseline) / deviation)
    yield (in_deviations * count("24h").sqrt()).alias(f"{name}_z_24h")


def _ratio(total: pl.Expr, count: pl.Expr) -> pl.Expr:
    # Counts are sums of ones in floating point: 0.5 tells none from one.
    return pl.when(count > 0.5).then(total / count)
