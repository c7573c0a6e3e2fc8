"""Score a tenant's last two weeks with what serves, and store scores and events."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import psycopg

from ml.anomaly.events import AnomalyEvent, group_events
from ml.anomaly.machine_model import METHODS, MachineModel, fit_machine
from ml.anomaly.machine_rows import LEAST_ROWS, MachineRows, machine_rows
from ml.anomaly.model_version import METRIC_SET, MODEL_NAME, load_choices
from ml.datasets.warehouse import plant_now, read_history
from ml.registry.client import ModelRegistry

LOOK_BACK = timedelta(days=14)
DEFAULT_METHOD = next(iter(METHODS))


@dataclass(frozen=True)
class MachineScores:
    """Scored hours of one machine.

    Attributes:
        equipment_id: Machine.
        method: Detector.
        scores: `hour_at`, `score`, `is_anomalous`.
        events: Events among them.
    """

    equipment_id: str
    method: str
    scores: pl.DataFrame
    events: tuple[AnomalyEvent, ...]


@dataclass(frozen=True)
class AnomalyOutcome:
    """What a scoring run did for one tenant.

    Attributes:
        tenant_id: Owner.
        as_of: Plant clock that was scored up to; None where nothing landed.
        model_version: What scored; empty without a champion.
        machines: Scored machines.
        note: Why there are none.
    """

    tenant_id: str
    as_of: datetime | None
    model_version: str
    machines: tuple[MachineScores, ...]
    note: str

    @property
    def events(self) -> list[AnomalyEvent]:
        """Events of all machines, the latest first."""
        found = [event for machine in self.machines for event in machine.events]
        return sorted(found, key=lambda event: event.starts_at, reverse=True)


def score_tenant(
    database_url: str,
    registry: ModelRegistry,
    tenant_id: str,
    as_of: datetime | None = None,
    data_delay: timedelta = timedelta(0),
) -> AnomalyOutcome:
    """Score every machine with the champion's detectors and store scores and events.

    Args:
        database_url: The opsgraph database.
        registry: Where the champion is.
        tenant_id: Whose machines.
        as_of: Score as known at this instant; at the plant clock by default.
        data_delay: Hours until that long before are scored, so that readings which came late are there.
    """
    known = as_of or plant_now(database_url, tenant_id)
    if known is None:
        return AnomalyOutcome(tenant_id, None, "", (), "nothing landed yet")
    instant = known - data_delay
    champion = registry.by_alias(MODEL_NAME, "champion", tenant_id)
    if champion is None:
        note = f"no champion of {MODEL_NAME} yet: materialize model/anomaly, then model/signal_promotions"
        return AnomalyOutcome(tenant_id, instant, "", (), note)
    methods = load_choices(registry, champion)
    history = read_history(database_url, tenant_id, as_of).history
    found = tuple(score_machines(machine_rows(history), methods, instant))
    with psycopg.connect(database_url) as connection:
        store(connection, tenant_id, instant, champion.version, found)
    return AnomalyOutcome(tenant_id, instant, champion.version, found, "")


@dataclass(frozen=True)
class HourScore:
    """One hour of one machine.

    Attributes:
        hour_at: End of the hour.
        score: 0 to 1; 0.5 is the machine's threshold. NaN where too few hours stand before it.
        is_anomalous: Whether it is beyond the threshold.
        shares: Metric → share of the score.
    """

    hour_at: datetime
    score: float
    is_anomalous: bool
    shares: Mapping[str, float]


def score_hour(rows: MachineRows, model: MachineModel, index: int) -> HourScore:
    """Score one hour from the rows that it depends on, as the batch does.

    Args:
        rows: Hours of the machine, those before `index` included.
        model: The machine's model.
        index: Which hour.
    """
    needed = slice(max(index - model.context, 0), index + 1)
    window = replace(
        rows,
        hour_at=rows.hour_at[needed.start : needed.stop],
        readings=rows.readings[needed],
        is_normal=rows.is_normal[needed],
    )
    raw = model.raw(window)[-1:]
    return HourScore(
        hour_at=rows.hour_at[index],
        score=float(model.scale.score(raw)[0]),
        is_anomalous=bool(model.scale.is_anomalous(raw)[0]),
        shares=dict(zip(rows.metrics, map(float, model.shares(window)[-1]), strict=True)),
    )


def fit_until(rows: MachineRows, methods: Mapping[str, str], instant: datetime) -> MachineModel | None:
    """The machine's model as an instant scores with it; None where too little normal time is before."""
    taught = rows.is_normal & (rows.hour_at <= instant - LOOK_BACK).to_numpy()
    if taught.sum() < LEAST_ROWS:
        return None
    return fit_machine(rows, taught, methods.get(rows.equipment_model, DEFAULT_METHOD))


def score_machines(
    machines: Sequence[MachineRows], methods: Mapping[str, str], instant: datetime
) -> list[MachineScores]:
    """Fit each machine on its normal hours until two weeks before and score the hours since."""
    found: list[MachineScores] = []
    first = instant - LOOK_BACK
    for rows in machines:
        is_recent = ((rows.hour_at > first) & (rows.hour_at <= instant)).to_numpy()
        model = fit_until(rows, methods, instant) if is_recent.any() else None
        if model is not None:
            found.append(_scored(rows, model, is_recent))
    return found


def store(
    connection: psycopg.Connection,
    tenant_id: str,
    instant: datetime,
    version: str,
    machines: Sequence[MachineScores],
) -> None:
    """Write scores and events of the scored window; an event keeps the instant at which it became known."""
    since = instant - LOOK_BACK
    with connection.cursor() as cursor:
        cursor.execute(
            "delete from ml.anomaly_scores where tenant_id = %s and hour_at > %s", (tenant_id, since)
        )
        with cursor.copy(
            "copy ml.anomaly_scores (tenant_id, equipment_id, hour_at, score, is_anomalous, model_version,"
            " known_at) from stdin"
        ) as copy:
            for machine in machines:
                for hour_at, score, is_anomalous in machine.scores.iter_rows():
                    copy.write_row(
                        (tenant_id, machine.equipment_id, hour_at, score, is_anomalous, version, instant)
                    )
        cursor.execute(
            "delete from ml.anomaly_events where tenant_id = %s and starts_at > %s"
            " returning equipment_id, starts_at, known_at",
            (tenant_id, since),
        )
        known = {(machine, start): known_at for machine, start, known_at in cursor.fetchall()}
        rows = [
            (
                tenant_id,
                event.equipment_id,
                METRIC_SET,
                event.starts_at,
                event.ends_at,
                event.peak_at,
                event.peak_score,
                json.dumps([vars(each) for each in event.contributing_sensors]),
                event.summary,
                version,
                known.get((event.equipment_id, event.starts_at), instant),
            )
            for machine in machines
            for event in machine.events
        ]
        cursor.executemany(
            "insert into ml.anomaly_events (tenant_id, equipment_id, metric_set, starts_at, ends_at, peak_at,"
            " peak_score, contributing_sensors, summary, model_version, known_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            rows,
        )


def _scored(rows: MachineRows, model: MachineModel, is_recent: np.ndarray) -> MachineScores:
    raw = model.raw(rows)
    kept = is_recent & np.isfinite(raw)
    score, is_anomalous = model.scale.score(raw)[kept], model.scale.is_anomalous(raw)[kept]
    hours = rows.hour_at.filter(pl.Series(kept))
    return MachineScores(
        equipment_id=rows.equipment_id,
        method=model.method,
        scores=pl.DataFrame({"hour_at": hours, "score": score, "is_anomalous": is_anomalous}),
        events=tuple(
            group_events(
                rows.equipment_id,
                hours.to_list(),
                score,
                is_anomalous,
                model.shares(rows)[kept],
                rows.metrics,
            )
        ),
    )
