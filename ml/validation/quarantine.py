"""Sensors in quarantine: their readings are missing for training and scoring, and for nothing else.

Avoid deciding who is quarantined: a verdict does. A model answers without a masked sensor as it does
for any missing reading.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import psycopg

STATISTICS = ("mean", "std", "min", "max")


@dataclass(frozen=True)
class Quarantine:
    """One sensor out of use.

    Attributes:
        equipment_id: Machine.
        metric: Sensor.
        from_at: First instant whose readings are not used.
        to_at: First instant that is used again; None while it lasts.
        reason: Why.
    """

    equipment_id: str
    metric: str
    from_at: datetime
    to_at: datetime | None
    reason: str


def quarantines(connection: psycopg.Connection, tenant_id: str, as_of: datetime) -> list[Quarantine]:
    """Quarantines of a tenant that were known at an instant; their end counts only if it was known too."""
    rows = connection.execute(
        "select equipment_id, metric, from_at, case when to_at <= %(as_of)s then to_at end, reason"
        " from ml.sensor_quarantines where tenant_id = %(tenant)s and known_at <= %(as_of)s"
        " order by equipment_id, metric, from_at",
        {"tenant": tenant_id, "as_of": as_of},
    ).fetchall()
    return [Quarantine(*row) for row in rows]


def masked(hours: pl.DataFrame, found: Sequence[Quarantine]) -> pl.DataFrame:
    """Machine-hours without the readings of quarantined sensors.

    Args:
        hours: `equipment_id`, `hour_at` (end of the hour) and `<metric>_<statistic>` columns.
        found: What is quarantined.
    """
    by_metric: dict[str, list[Quarantine]] = {}
    for one in found:
        by_metric.setdefault(one.metric, []).append(one)
    for metric, ones in by_metric.items():
        columns = [f"{metric}_{name}" for name in STATISTICS if f"{metric}_{name}" in hours.columns]
        if columns:
            is_masked = pl.any_horizontal(_covers(one) for one in ones)
            hours = hours.with_columns(pl.when(~is_masked).then(pl.col(columns)).name.keep())
    return hours


def _covers(one: Quarantine) -> pl.Expr:
    inside = (pl.col("equipment_id") == one.equipment_id) & (pl.col("hour_at") > one.from_at)
    return inside if one.to_at is None else inside & (pl.col("hour_at") <= one.to_at)
