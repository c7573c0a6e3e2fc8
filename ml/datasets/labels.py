"""What happened next: hours to the next failure, and whether that can be known yet.

An hour's label is mature once its whole horizon has passed by the clock. An immature hour is not a
negative; it has no label.
"""

from datetime import datetime, timedelta

import polars as pl

from ml.features.history import HOUR, PlantHistory


def label_hours(
    keys: pl.DataFrame, history: PlantHistory, horizon: timedelta, clock: datetime
) -> pl.DataFrame:
    """Label machine-hours for one horizon.

    Args:
        keys: `equipment_id`, `hour_at`, sorted by both.
        history: Source of failures and incident periods.
        horizon: How far ahead a failure counts.
        clock: The plant's time; nothing after it has happened.

    Returns:
        `keys` with `hours_to_failure` (null: no failure known), `next_component`, `is_failure` (null
        where immature) and `is_usable` (mature and outside incident periods).
    """
    failures = history.failures.with_columns(pl.col("failure_at").alias("__at"))
    # Strictly after the hour: a failure on the hour is what happened, not what comes.
    ahead = keys.with_columns((pl.col("hour_at") + timedelta(microseconds=1)).alias("__after"))
    labelled = ahead.join_asof(
        failures,
        left_on="__after",
        right_on="__at",
        by="equipment_id",
        strategy="forward",
        check_sortedness=False,
    )
    wait = (pl.col("failure_at") - pl.col("hour_at")).dt.total_microseconds() / 3.6e9
    # A failure that came early in the horizon is known before the horizon has passed, the absence of one
    # is not. Counting the first without the second would fill the last days with positives only.
    is_mature = pl.col("hour_at") + horizon <= clock
    fails = (pl.col("hours_to_failure") <= horizon / HOUR).fill_null(value=False)
    labelled = labelled.select(
        "equipment_id",
        "hour_at",
        wait.alias("hours_to_failure"),
        pl.col("component").alias("next_component"),
    ).with_columns(pl.when(is_mature).then(fails).alias("is_failure"))
    in_incident = in_incidents(keys, history.incidents)
    return labelled.with_columns(
        (pl.col("is_failure").is_not_null() & ~pl.lit(in_incident)).alias("is_usable")
    )


def in_incidents(keys: pl.DataFrame, incidents: pl.DataFrame) -> pl.Series:
    """True for each machine-hour that touches an incident period of its machine or of the whole plant."""
    flags = pl.Series("in_incident", [False] * keys.height)
    if incidents.is_empty() or keys.is_empty():
        return flags
    touched = (
        keys.with_row_index()
        .join(incidents.rename({"equipment_id": "__machine"}), how="cross")
        .filter(
            (pl.col("__machine").is_null() | (pl.col("__machine") == pl.col("equipment_id")))
            & (pl.col("hour_at") - HOUR < pl.col("ends_at"))
            & (pl.col("hour_at") >= pl.col("starts_at"))
        )["index"]
        .unique()
    )
    return flags.scatter(touched.to_list(), True) if touched.len() else flags
