"""Features of what happened to a machine: errors by code, work by component, failures.

An event counts from the instant at which the plant knew of it: an event of 03:10 that was reported at
09:40 is first seen by the row of 10:00.
"""

from datetime import timedelta

import polars as pl

from ml.features.specs import ERROR_WINDOWS_H, FeatureSet


def event_features(keys: pl.DataFrame, events: pl.DataFrame, features: FeatureSet) -> pl.DataFrame:
    """Counts and hours since, for each machine and hour.

    Args:
        keys: `equipment_id`, `hour_at`, sorted by both.
        events: Events with the columns of `EVENT_SCHEMA`.
        features: Which codes and components have columns.

    Returns:
        `keys` with one column per event feature of `specs`. Counts are 0 where nothing happened;
        hours since something that never happened are null.
    """
    timeline = _timeline(events, features)
    now = _at(keys, timeline, timedelta(0))
    columns: list[pl.Series] = []
    for hours in ERROR_WINDOWS_H:
        before = _at(keys, timeline, timedelta(hours=hours))
        for name, column in _error_columns(features):
            counted = now[column].fill_null(0.0) - before[column].fill_null(0.0)
            columns.append(counted.alias(f"{name}_{hours}h"))
    elapsed = [
        ((pl.col("hour_at") - pl.col(column)).dt.total_minutes() / 60.0).alias(name)
        for name, column in _elapsed_columns(features)
    ]
    return now.select(
        "equipment_id",
        "hour_at",
        *columns,
        *elapsed,
        pl.col("n_failure").fill_null(0.0).alias("failures_before"),
    )


def _error_columns(features: FeatureSet) -> list[tuple[str, str]]:
    by_code = [(f"errors_{code}", f"n_error_{code}") for code in features.error_codes]
    return [("errors", "n_error"), *by_code]


def _elapsed_columns(features: FeatureSet) -> list[tuple[str, str]]:
    by_component = [
        (f"hours_since_{component}_replaced", f"last_replacement_{component}")
        for component in features.components
    ]
    return [
        ("hours_since_error", "last_error"),
        ("hours_since_maintenance", "last_work"),
        *by_component,
        ("hours_since_failure", "last_failure"),
    ]


def _timeline(events: pl.DataFrame, features: FeatureSet) -> pl.DataFrame:
    """Running counts and last instants, one row per machine and instant at which an event became known."""
    is_error = pl.col("event_type") == "error"
    is_failure = pl.col("event_type") == "failure"
    is_replacement = pl.col("event_type") == "component_replacement"
    is_work = is_replacement | (pl.col("event_type") == "maintenance")
    at = pl.col("event_at")
    marks = [
        is_error.cast(pl.Float64).alias("n_error"),
        *(
            (is_error & (pl.col("code") == code)).cast(pl.Float64).alias(f"n_error_{code}")
            for code in features.error_codes
        ),
        is_failure.cast(pl.Float64).alias("n_failure"),
    ]
    instants = [
        pl.when(is_error).then(at).alias("last_error"),
        pl.when(is_work).then(at).alias("last_work"),
        *(
            pl.when(is_replacement & (pl.col("code") == component))
            .then(at)
            .alias(f"last_replacement_{component}")
            for component in features.components
        ),
        pl.when(is_failure).then(at).alias("last_failure"),
    ]
    counts = [f"n_error{suffix}" for suffix in ("", *(f"_{code}" for code in features.error_codes))]
    counts.append("n_failure")
    seen = pl.max_horizontal("event_at", "known_at")
    return (
        events.unique(["equipment_id", "event_at", "event_type", "code"])
        .select("equipment_id", seen.alias("seen_at"), *marks, *instants)
        .group_by("equipment_id", "seen_at")
        .agg(pl.col(counts).sum(), pl.col("^last_.*$").max())
        .sort("equipment_id", "seen_at")
        .with_columns(
            pl.col(counts).cum_sum().over("equipment_id"),
            # An older event that is reported late does not make the last one older.
            pl.col("^last_.*$").cum_max().forward_fill().over("equipment_id"),
        )
    )


def _at(keys: pl.DataFrame, timeline: pl.DataFrame, ago: timedelta) -> pl.DataFrame:
    """The timeline as it stood `ago` before each key's hour; rows and order are those of `keys`."""
    moved = keys.with_columns((pl.col("hour_at") - ago).alias("__at"))
    return moved.join_asof(
        timeline,
        left_on="__at",
        right_on="seen_at",
        by="equipment_id",
        strategy="backward",
        check_sortedness=False,
    )
