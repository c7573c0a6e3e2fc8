"""The monitor of one tenant: from the warehouse to sensor grades, drift of features, and verdicts.

Machines are judged first; the model is judged on the machines whose sensors are sound, so that a broken
sensor can never ask for a retraining. Avoid statistics and storage rules here: they have their modules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import psycopg

from ml.drift.grading import grade_matured
from ml.drift.label_evidence import ScoredLabels
from ml.drift.ledger import LedgerRow, Subject, record, release
from ml.drift.performance import ModelPerformance, model_performance
from ml.drift.segments import SegmentDrift, check_segments, fleet_mean
from ml.drift.tenant_readings import REFERENCE_DAYS, WINDOW_DAYS, TenantReadings, read_machines
from ml.drift.univariate import FeatureDrift
from ml.drift.verdict import Judgement, Verdict, judge
from ml.validation.grades import SensorGrade, grade_sensors, store_grades
from ml.validation.quarantine import quarantines


@dataclass(frozen=True)
class MonitorReport:
    """What the monitor found for one tenant.

    Attributes:
        tenant_id: Owner.
        as_of: Instant that it was judged at; None where nothing landed yet.
        grades: Of every sensor of every machine.
        segments: Drift of each machine model's metrics.
        performance: Of each model, promised and happened.
        judged: Subject and judgement of every machine and model, quiet ones included.
        recorded: New rows of the ledger.
        released: Sensors whose quarantine ended.
        note: Why nothing was judged; empty where it was.
    """

    tenant_id: str
    as_of: datetime | None
    grades: tuple[SensorGrade, ...] = ()
    segments: tuple[SegmentDrift, ...] = ()
    performance: tuple[ModelPerformance, ...] = ()
    judged: tuple[tuple[Subject, Judgement], ...] = ()
    recorded: tuple[LedgerRow, ...] = ()
    released: int = 0
    note: str = ""

    @property
    def features(self) -> tuple[FeatureDrift, ...]:
        """Every metric of every machine model."""
        return tuple(one for segment in self.segments for one in segment.features)


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
    return subject, judge(fleet_mean(machines), labels)


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
        scored_by_model = scores(connection, tenant_id, found.window_to)
        for model_name, scored in scored_by_model.items():
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
        segments=tuple(check_segments(found, scored_by_model)),
        performance=tuple(
            model_performance(name, scored, found.window_from) for name, scored in scored_by_model.items()
        ),
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
        " prediction.as_of + make_interval(hours => prediction.horizon_hours) <= %(as_of)s,"
        " prediction.is_alert from ml.failure_predictions as prediction"
        " where prediction.tenant_id = %(tenant)s and prediction.as_of <= %(as_of)s"
        " and prediction.as_of > %(since)s",
        {
            "tenant": tenant_id,
            "as_of": as_of,
            "since": as_of - timedelta(days=REFERENCE_DAYS + WINDOW_DAYS),
        },
    ).fetchall()
    names = ["model_name", "model_version", "equipment_id", "as_of", "probability", "is_failure"]
    names += ["is_mature", "is_alert"]
    if not rows:
        return {}
    frame = pl.DataFrame(rows, schema=names, orient="row").sort("as_of")
    latest = pl.col("model_version") == pl.col("model_version").last().over("model_name")
    frame = frame.filter(latest)
    return {str(key[0]): part for key, part in frame.group_by("model_name", maintain_order=True)}
