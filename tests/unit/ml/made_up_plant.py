"""A small made-up plant whose numbers can be checked by hand. Avoid assertions here."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from ml.features.history import EQUIPMENT_SCHEMA, EVENT_SCHEMA, INCIDENT_SCHEMA, INSTANT, PlantHistory
from ml.features.metrics import Metric

START = datetime(2026, 3, 1, tzinfo=UTC)
METRICS = (Metric("volt", ""), Metric("vibration", ""))

Event = tuple[str, float, str, str]


def at(hours: float) -> datetime:
    """Instant, hours after the start."""
    return START + timedelta(hours=hours)


def history(
    machines: Sequence[str] = ("a", "b"),
    hours: int = 240,
    events: Sequence[Event] = (),
    seed: int = 3,
    incidents: Sequence[tuple[str | None, float, float]] = (),
) -> PlantHistory:
    """Noise around 100 (volt) and 40 (vibration), and the given events.

    Args:
        machines: Machine ids.
        hours: Rows per machine.
        events: Machine, hours after the start, type, code; known when they happen.
        seed: Of the noise.
        incidents: Machine or None, first and last hour.
    """
    rng = np.random.default_rng(seed)
    frames = []
    for machine in machines:
        volt, vibration = 100 + rng.normal(size=hours), 40 + rng.normal(size=hours)
        frames.append(
            pl.DataFrame(
                {
                    "equipment_id": [machine] * hours,
                    "hour_at": [at(hour) for hour in range(hours)],
                    "known_at": [at(hour) for hour in range(hours)],
                    **{
                        f"{name}_{statistic}": values + offset
                        for name, values in (("volt", volt), ("vibration", vibration))
                        for statistic, offset in (("mean", 0.0), ("min", -1.0), ("max", 1.0))
                    },
                }
            )
        )
    rows = [(machine, at(hour), kind, code, at(hour)) for machine, hour, kind, code in events]
    periods = [(machine, "outage", at(lo), at(hi), at(hi)) for machine, lo, hi in incidents]
    return PlantHistory(
        tenant_id="made-up",
        metrics=pl.concat(frames).with_columns(pl.col("hour_at", "known_at").cast(INSTANT)),
        events=pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row"),
        equipment=pl.DataFrame(
            [(machine, "press" if index % 2 else "lathe", 4.0) for index, machine in enumerate(machines)],
            schema=EQUIPMENT_SCHEMA,
            orient="row",
        ),
        incidents=pl.DataFrame(periods, schema=INCIDENT_SCHEMA, orient="row"),
    )
