"""A tenant's machines on one hourly grid: reference and window of each, without what is no reference.

Left out are incident periods, what a sensor in quarantine said before the window, and what a machine did
before its last change of mode. Avoid judging here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import psycopg

from ml.datasets.labels import in_incidents
from ml.datasets.warehouse import plant_now, read_history
from ml.drift.ledger import REFERENCE_NEEDS, reference_starts
from ml.features.history import HOUR, PlantHistory
from ml.validation.quarantine import Quarantine, quarantines
from ml.validation.readings import Readings

REFERENCE_DAYS, WINDOW_DAYS = 45, 10
SHORTEST_REFERENCE_DAYS = int(REFERENCE_NEEDS / timedelta(days=1))
# Share of a reference's hours that must have been heard.
_FULL = 0.7
_RANGES = Path(__file__).parents[1] / "features" / "generated" / "metrics.json"


@dataclass(frozen=True)
class TenantReadings:
    """Every machine's readings on one hourly grid, incident periods left out.

    Attributes:
        machines: Equipment id → readings.
        models: Equipment id → machine model.
        window_from: First instant of the window.
        window_to: Its end.
    """

    machines: dict[str, Readings]
    models: dict[str, str]
    window_from: datetime
    window_to: datetime


def read_machines(database_url: str, tenant_id: str, as_of: datetime | None = None) -> TenantReadings | str:
    """Read a tenant's last days; a sentence where they are not enough."""
    instant = as_of or plant_now(database_url, tenant_id)
    if instant is None:
        return "nothing landed yet"
    end = instant.replace(minute=0, second=0, microsecond=0)
    since = end - timedelta(days=REFERENCE_DAYS + WINDOW_DAYS)
    history = read_history(database_url, tenant_id, as_of, since, masks_quarantined=False).history
    with psycopg.connect(database_url) as connection:
        held = quarantines(connection, tenant_id, instant)
        starts = reference_starts(connection, tenant_id, instant)
    return grid(history, end, held, starts)


def grid(
    history: PlantHistory,
    end: datetime,
    held: Sequence[Quarantine] = (),
    starts: Mapping[str, datetime] | None = None,
) -> TenantReadings | str:
    """Put machine-hours on the grid that is judged.

    Args:
        history: Known rows.
        end: Last full hour of the window.
        held: Quarantines: what the sensor said before the window is not in its reference.
        starts: Equipment id → instant from which its reference holds, where it changed its mode.
    """
    hours = history.metrics.filter(pl.col("hour_at") <= end)
    first = hours["hour_at"].min()
    if not isinstance(first, datetime):
        return f"no machine-hour by {end:%Y-%m-%d %H:%M}"
    days = min(int((end - first) / timedelta(days=1)), REFERENCE_DAYS + WINDOW_DAYS)
    reference_days = days - WINDOW_DAYS
    if reference_days < SHORTEST_REFERENCE_DAYS:
        return (
            f"{days} days of readings; {SHORTEST_REFERENCE_DAYS + WINDOW_DAYS} are needed to tell drift "
            "from the ordinary"
        )
    begin = end - timedelta(days=days)
    quiet = hours.filter(~in_incidents(hours.select("equipment_id", "hour_at"), history.incidents))
    steps = pl.datetime_range(begin + HOUR, end, HOUR, time_unit="us", time_zone="UTC", eager=True)
    every = pl.DataFrame({"hour_at": steps})
    metrics = [name.removesuffix("_mean") for name in hours.columns if name.endswith("_mean")]
    low, high = _ranges(tuple(metrics))
    window_from = end - timedelta(days=WINDOW_DAYS)
    settled = {name: at for name, at in (starts or {}).items() if at + REFERENCE_NEEDS <= window_from}
    machines: dict[str, Readings] = {}
    for (equipment_id,), rows in quiet.group_by("equipment_id", maintain_order=True):
        on_grid = every.join(rows, on="hour_at", how="left", maintain_order="left")
        values = on_grid.select(pl.col(f"{name}_mean") for name in metrics).to_numpy().astype(np.float64)
        reference = values[: reference_days * 24]
        for kept in _kept(str(equipment_id), steps, metrics, held, settled):
            sound = np.where(kept[: len(reference)], reference, np.nan)
            # Where too little would be left, what there is stays the reference: it moves on with the days.
            is_enough = (~np.isnan(sound)).sum(axis=0) >= SHORTEST_REFERENCE_DAYS * 24 * _FULL
            reference[:, is_enough] = sound[:, is_enough]
        delay = (on_grid["known_at"] - on_grid["hour_at"]).dt.total_seconds().to_numpy() / 3600.0
        present = [column for column in range(len(metrics)) if not np.isnan(reference[:, column]).all()]
        machines[str(equipment_id)] = Readings(
            metrics=tuple(metrics[column] for column in present),
            values=values[:, present],
            reference_steps=reference_days * 24,
            steps_per_day=24,
            lowest=low[present],
            highest=high[present],
            delay_h=delay,
        )
    models = dict(history.equipment.select("equipment_id", "equipment_model").iter_rows())
    sound = {name: found for name, found in machines.items() if found.metrics}
    return TenantReadings(sound, models, window_from, end)


def _kept(
    equipment_id: str,
    steps: pl.Series,
    metrics: Sequence[str],
    held: Sequence[Quarantine],
    starts: Mapping[str, datetime],
) -> list[np.ndarray]:
    """What of a machine's hours may be reference, by mode and by quarantine; each shape (steps, metrics)."""
    found: list[np.ndarray] = []
    if equipment_id in starts:
        since = (steps > starts[equipment_id]).to_numpy()
        found.append(np.repeat(since[:, None], len(metrics), axis=1))
    is_sound = np.ones((len(steps), len(metrics)), dtype=bool)
    for one in held:
        if one.equipment_id == equipment_id and one.metric in metrics:
            out = steps > one.from_at if one.to_at is None else (steps > one.from_at) & (steps <= one.to_at)
            is_sound[out.to_numpy(), metrics.index(one.metric)] = False
    return found if is_sound.all() else [*found, is_sound]


def _ranges(metrics: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    known = _declared_ranges()
    bounds = [known.get(name, (-np.inf, np.inf)) for name in metrics]
    return np.array([low for low, _ in bounds]), np.array([high for _, high in bounds])


@cache
def _declared_ranges() -> dict[str, tuple[float, float]]:
    rows = json.loads(_RANGES.read_text())
    return {
        row["name"]: (
            -np.inf if row.get("minimum") is None else float(row["minimum"]),
            np.inf if row.get("maximum") is None else float(row["maximum"]),
        )
        for row in rows
    }
