"""What is known about one tenant's machines: the only input of features, labels and predictions.

Add a frame here when features need another source. Avoid reading it from anywhere: `ml.datasets`
does that, from the warehouse or from files.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

INSTANT = pl.Datetime("us", "UTC")
HOUR = timedelta(hours=1)

EVENT_SCHEMA = pl.Schema(
    {
        "equipment_id": pl.String(),
        "event_at": INSTANT,
        "event_type": pl.String(),
        "code": pl.String(),
        "known_at": INSTANT,
    }
)
EQUIPMENT_SCHEMA = pl.Schema(
    {"equipment_id": pl.String(), "equipment_model": pl.String(), "age_years": pl.Float64()}
)
INCIDENT_SCHEMA = pl.Schema(
    {
        "equipment_id": pl.String(),
        "kind": pl.String(),
        "starts_at": INSTANT,
        "ends_at": INSTANT,
        "known_at": INSTANT,
    }
)


@dataclass(frozen=True)
class PlantHistory:
    """Everything that features and labels of one tenant are made of.

    `hour_at` is the end of an hour: the row of 06:00 holds the readings of (05:00, 06:00], and what
    happened by 06:00 is known to it.

    Attributes:
        tenant_id: Owner of all rows.
        metrics: One row per machine and hour: `equipment_id`, `hour_at`, `known_at` and, for each
            metric, `<metric>_mean`, `<metric>_std`, `<metric>_min`, `<metric>_max`.
        events: One row per event, with the columns of `EVENT_SCHEMA`; `event_type` is
            `registration`, `maintenance`, `component_replacement`, `failure` or `error`, `code` is
            the component or the error code.
        equipment: One row per machine, with the columns of `EQUIPMENT_SCHEMA`.
        incidents: Periods that training leaves out (`INCIDENT_SCHEMA`); a null machine means all.
    """

    tenant_id: str
    metrics: pl.DataFrame
    events: pl.DataFrame
    equipment: pl.DataFrame
    incidents: pl.DataFrame

    def known_at(self, instant: datetime) -> "PlantHistory":
        """The same history without what the plant could not have known by then.

        Args:
            instant: UTC-aware; rows with `known_at` after it are left out.
        """
        is_known = pl.col("known_at") <= instant
        return replace(
            self,
            metrics=self.metrics.filter(is_known),
            events=self.events.filter(is_known),
            incidents=self.incidents.filter(is_known),
        )

    def of_machine(self, equipment_id: str, since: datetime, until: datetime) -> "PlantHistory":
        """One machine, with the hours in [since, until] and all its events."""
        of_machine = pl.col("equipment_id") == equipment_id
        return replace(
            self,
            metrics=self.metrics.filter(of_machine & pl.col("hour_at").is_between(since, until)),
            events=self.events.filter(of_machine),
            equipment=self.equipment.filter(of_machine),
        )

    @property
    def clock(self) -> datetime | None:
        """The last hour that any machine has a row for; None without rows."""
        last = self.metrics["hour_at"].max()
        return last if isinstance(last, datetime) else None

    @property
    def failures(self) -> pl.DataFrame:
        """One row per machine and failure instant, in order: `equipment_id`, `failure_at`, `component`.

        Components that fail at the same instant are one failure of the machine.
        """
        return (
            self.events.filter(pl.col("event_type") == "failure")
            .group_by("equipment_id", "event_at")
            .agg(pl.col("code").sort().str.join("+").alias("component"))
            .rename({"event_at": "failure_at"})
            .sort("equipment_id", "failure_at")
        )
