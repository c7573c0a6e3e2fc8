"""Predictions in `ml.failure_predictions`: written once per machine, horizon, instant and version."""

import json
from collections.abc import Mapping, Sequence

import psycopg

from ml.predictions.batch import FailurePrediction
from ml.registry.client import RegisteredVersion

_UPSERT = """
insert into ml.failure_predictions (
    tenant_id, equipment_id, horizon_hours, as_of, model_name, model_version, failure_probability,
    is_alert, risk_level, recommended_action, contributing_factors, source_vector, run_id
) values (
    %(tenant_id)s, %(equipment_id)s, %(horizon_hours)s, %(as_of)s, %(model_name)s, %(model_version)s,
    %(failure_probability)s, %(is_alert)s, %(risk_level)s, %(recommended_action)s,
    %(contributing_factors)s, %(source_vector)s, %(run_id)s
)
on conflict (tenant_id, equipment_id, horizon_hours, as_of, model_name, model_version) do update set
    failure_probability = excluded.failure_probability,
    is_alert = excluded.is_alert,
    risk_level = excluded.risk_level,
    recommended_action = excluded.recommended_action,
    contributing_factors = excluded.contributing_factors,
    source_vector = excluded.source_vector,
    predicted_at = now(),
    run_id = excluded.run_id
"""


def store_predictions(
    connection: psycopg.Connection,
    predictions: Sequence[FailurePrediction],
    version: RegisteredVersion,
    source_vector: Mapping[str, int],
    run_id: str | None,
) -> int:
    """Write predictions of one tenant; the same ones again change no row count. Returns how many."""
    rows = [
        {
            "tenant_id": version.tenant_id,
            "equipment_id": found.equipment_id,
            "horizon_hours": found.horizon_hours,
            "as_of": found.as_of,
            "model_name": version.name,
            "model_version": version.version,
            "failure_probability": found.failure_probability,
            "is_alert": found.is_alert,
            "risk_level": found.risk_level.value,
            "recommended_action": found.recommended_action,
            "contributing_factors": json.dumps(found.contributing_factors),
            "source_vector": json.dumps(dict(source_vector)),
            "run_id": run_id,
        }
        for found in predictions
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_UPSERT, rows)
    return len(rows)
