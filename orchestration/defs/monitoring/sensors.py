"""The sensor that turns a CONCEPT verdict into one training run."""

import dagster as dg

from orchestration.defs.promotion.assets import DRIFT_VERDICT_TAG
from orchestration.defs.training.schedules import training
from orchestration.resources.postgres import PostgresResource


@dg.sensor(
    name="retrain_on_concept",
    job=training,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests a training run for each CONCEPT verdict, once: its evidence digest is the run key.",
)
def retrain_on_concept(context: dg.SensorEvaluationContext, postgres: PostgresResource):
    """One run per verdict; the ledger's cool-down keeps a storm of verdicts out."""
    from ml.drift.ledger import retraining_requests

    with postgres.connect() as connection:
        rows = retraining_requests(connection, after=int(context.cursor or 0))
    requests = [
        dg.RunRequest(
            run_key=row.evidence_digest,
            tags={"opsgraph/tenant": row.tenant_id, DRIFT_VERDICT_TAG: str(row.verdict_id)},
        )
        for row in rows
    ]
    return dg.SensorResult(requests, cursor=str(rows[-1].verdict_id) if rows else context.cursor)
