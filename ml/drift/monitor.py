"""The monitor of one tenant: from the warehouse to sensor grades, drift of features, and verdicts.

Machines are judged first; the model is judged on the machines whose sensors are sound, so that a broken
sensor can never ask for a retraining. Avoid statistics and storage rules here: they have their modules.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import psycopg

from ml.datasets.labels import in_incidents
from ml.datasets.warehouse import plant_now, read_history
from ml.drift.grading import grade_matured
from ml.drift.label_evidence import ScoredLabels
from ml.drift.ledger import LedgerRow, Subject, record, release
from ml.drift.univariate import FeatureDrift, check_feature, hold_down_false_discoveries
from ml.drift.verdict import Judgement, Verdict, judge
from ml.features.history import HOUR, PlantHistory
from ml.validation.grades import SensorGrade, grade_sensors, store_grades
from ml.validation.quarantine import quarantines
from ml.validation.readings import Readings

REFERENCE_DAYS, WINDOW_DAYS = 45, 10
SHORTEST_REFERENCE_DAYS = 21
FEATURE_WINDOW_HOURS = 7 * 24
_RANGES = Path(__file__).parents[1] / "features" / "generated" / "metrics.json"


@dataclass(frozen=True)
class MonitorReport:
    """What the monitor found for one tenant.

    Attributes:
        tenant_id: Owner.
        as_of: Instant that it was judged at; None where nothing landed yet.
        grades: Of every sensor of every machine.
        features: Drift of each metric by machine model.
        judged: Subject and judgement of every machine and model, quiet ones included.
        recorded: New rows of the ledger.
        released: Sensors whose quarantine ended.
        note: Why nothing was judged; empty where it was.
    """

    tenant_id: str
    as_of: datetime | None
    grades: tuple[SensorGrade, ...] = ()
    features: tuple[FeatureDrift, ...] = ()
    judged: tuple[tuple[Subject, Judgement], ...] = ()
    recorded: tuple[LedgerRow, ...] = ()
    released: int = 0
    note: str = ""


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
    return grid(history, end)


def grid(history: PlantHistory, end: datetime) -> TenantReadings | str:
    """Put machine-hours on the grid that is judged.

    Args:
        history: Known rows.
        end: Last full hour of the window.
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
    machines: dict[str, Readings] = {}
    for (equipment_id,), rows in quiet.group_by("equipment_id", maintain_order=True):
        on_grid = every.join(rows, on="hour_at", how="left", maintain_order="left")
        values = on_grid.select(pl.col(f"{name}_mean") for name in metrics).to_numpy().astype(np.float64)
        delay = (on_grid["known_at"] - on_grid["hour_at"]).dt.total_seconds().to_numpy() / 3600.0
        usual = values[: reference_days * 24]
        present = [column for column in range(len(metrics)) if not np.isnan(usual[:, column]).all()]
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
    return TenantReadings(sound, models, end - timedelta(days=WINDOW_DAYS), end)


def check_features(found: TenantReadings) -> list[FeatureDrift]:
    """Drift of each metric over the last 7 days by machine model: mean of its machines, profile removed."""
    groups: dict[str, list[Readings]] = {}
    for equipment_id, readings in found.machines.items():
        groups.setdefault(found.models.get(equipment_id) or "unknown", []).append(readings)
    checked: list[FeatureDrift] = []
    for segment, machines in sorted(groups.items()):
        for metric in sorted({name for one in machines for name in one.metrics}):
            columns = [one.centred[:, one.metrics.index(metric)] for one in machines if metric in one.metrics]
            stacked = np.clip(np.stack(columns), -8, 8)
            counted = (~np.isnan(stacked)).sum(axis=0)
            mean = np.where(counted > 0, np.nansum(stacked, axis=0) / np.maximum(counted, 1), np.nan)
            reference = mean[: machines[0].reference_steps]
            checked.append(check_feature(segment, metric, reference, mean[-FEATURE_WINDOW_HOURS:]))
    return hold_down_false_discoveries(checked)


def judge_machines(tenant_id: str, found: TenantReadings) -> list[tuple[Subject, Judgement]]:
    """A judgement for each machine, on its sensors alone."""
    return [
        (Subject(tenant_id, equipment_id, None, found.window_from, found.window_to), judge(readings, None))
        for equipment_id, readings in sorted(found.machines.items())
    ]


def judge_model(
    tenant_id: str, model_name: str, found: TenantReadings, scored: pl.DataFrame, broken: Sequence[str]
) -> tuple[Subject, Judgement] | None:
    """A judgement of one model on the machines whose sensors are sound; None without scores.

    Args:
        tenant_id: Owner.
        model_name: Which model.
        found: The machines' readings.
        scored: `equipment_id`, `as_of`, `probability`, `is_failure`, `is_mature`.
        broken: Machines with a sensor fault.
    """
    rows = scored.filter(~pl.col("equipment_id").is_in(list(broken)) & (pl.col("as_of") <= found.window_to))
    machines = [readings for name, readings in found.machines.items() if name not in broken]
    days = len(machines[0].values) // 24 if machines else 0
    begin = found.window_to - timedelta(days=days)
    rows = rows.filter(pl.col("as_of") > begin)
    if rows.is_empty() or not machines:
        return None
    day = ((rows["as_of"] - begin).dt.total_seconds() // 86_400).to_numpy().astype(np.int64)
    labels = ScoredLabels(
        probability=rows["probability"].to_numpy(),
        is_failure=rows["is_failure"].to_numpy().astype(bool),
        is_mature=rows["is_mature"].to_numpy().astype(bool),
        in_window=(rows["as_of"] > found.window_from).to_numpy(),
        # The hours before one failure share their outcome: a machine and day is one observation.
        cluster=rows.select(pl.struct("equipment_id", pl.col("as_of").dt.date()).rank("dense"))
        .to_series()
        .to_numpy(),
        day=np.minimum(day, days - 1),
    )
    subject = Subject(tenant_id, None, model_name, found.window_from, found.window_to)
    return subject, judge(_of_fleet(machines), labels)


def monitor_tenant(
    database_url: str, tenant_id: str, as_of: datetime | None = None, run_id: str | None = None
) -> MonitorReport:
    """Grade, check, judge and record one tenant.

    Args:
        database_url: The opsgraph database.
        tenant_id: Whose machines.
        as_of: Judge as known then; at the plant clock by default.
        run_id: Orchestrator's run, kept with the rows.
    """
    found = read_machines(database_url, tenant_id, as_of)
    if isinstance(found, str):
        return MonitorReport(tenant_id, None, note=found)
    grades = [
        grade
        for equipment_id, readings in sorted(found.machines.items())
        for grade in grade_sensors(equipment_id, readings, found.window_to)
    ]
    judged = judge_machines(tenant_id, found)
    broken = [str(subject.equipment_id) for subject, one in judged if one.verdict is Verdict.SENSOR_FAULT]
    with psycopg.connect(database_url) as connection:
        # What a quarantined sensor wrote into this window's scores is no evidence about the model.
        held = quarantines(connection, tenant_id, found.window_to)
        broken += [one.equipment_id for one in held if one.to_at is None or one.to_at > found.window_from]
        for model_name, scored in scores(connection, tenant_id, found.window_to).items():
            model = judge_model(tenant_id, model_name, found, scored, broken)
            judged += [model] if model else []
        grade_matured(connection, tenant_id, found.window_to)
        store_grades(connection, tenant_id, grades)
        rows = [record(connection, subject, judgement, run_id) for subject, judgement in judged]
        released = 0
        for subject, judgement in judged:
            good = [
                one.metric for one in grades if one.equipment_id == subject.equipment_id and one.is_usable
            ]
            if subject.equipment_id and judgement.verdict is not Verdict.SENSOR_FAULT:
                released += release(connection, subject, good)
    return MonitorReport(
        tenant_id=tenant_id,
        as_of=found.window_to,
        grades=tuple(grades),
        features=tuple(check_features(found)),
        judged=tuple(judged),
        recorded=tuple(row for row in rows if row is not None),
        released=released,
    )


def scores(connection: psycopg.Connection, tenant_id: str, as_of: datetime) -> dict[str, pl.DataFrame]:
    """Predictions of each model's latest version with their outcomes as known at an instant.

    Rows of an earlier version say nothing about the one that serves.
    """
    rows = connection.execute(
        "select prediction.model_name, prediction.model_version, prediction.equipment_id, prediction.as_of,"
        " prediction.failure_probability, exists (select 1 from marts.fact_equipment_events as event"
        "  where event.tenant_id = prediction.tenant_id and event.equipment_id = prediction.equipment_id"
        "  and event.event_type = 'failure' and event.known_at <= %(as_of)s"
        "  and event.event_at > prediction.as_of"
        "  and event.event_at <= prediction.as_of + make_interval(hours => prediction.horizon_hours)),"
        " prediction.as_of + make_interval(hours => prediction.horizon_hours) <= %(as_of)s"
        " from ml.failure_predictions as prediction"
        " where prediction.tenant_id = %(tenant)s and prediction.as_of <= %(as_of)s"
        " and prediction.as_of > %(since)s",
        {
            "tenant": tenant_id,
            "as_of": as_of,
            "since": as_of - timedelta(days=REFERENCE_DAYS + WINDOW_DAYS),
        },
    ).fetchall()
    names = ["model_name", "model_version", "equipment_id", "as_of", "probability", "is_failure", "is_mature"]
    if not rows:
        return {}
    frame = pl.DataFrame(rows, schema=names, orient="row").sort("as_of")
    latest = pl.col("model_version") == pl.col("model_version").last().over("model_name")
    frame = frame.filter(latest)
    return {str(key[0]): part for key, part in frame.group_by("model_name", maintain_order=True)}


def _of_fleet(machines: Sequence[Readings]) -> Readings:
    """The fleet's mean of each metric in deviations of its own machines."""
    names = tuple(sorted({name for one in machines for name in one.metrics}))
    columns: list[np.ndarray] = []
    for name in names:
        stacked = np.stack(
            [one.centred[:, one.metrics.index(name)] for one in machines if name in one.metrics]
        )
        counted = (~np.isnan(stacked)).sum(axis=0)
        mean = np.nansum(np.clip(stacked, -8, 8), axis=0) / np.maximum(counted, 1)
        columns.append(np.where(counted > 0, mean, np.nan))
    return Readings(
        metrics=names,
        values=np.stack(columns, axis=1),
        reference_steps=machines[0].reference_steps,
        steps_per_day=24,
        lowest=np.full(len(names), -np.inf),
        highest=np.full(len(names), np.inf),
    )


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
