"""The promotion ledger and the batch predictions as assets."""

import dagster as dg

from ml.models.horizons import HORIZONS
from orchestration.automation import WHEN_UPSTREAM_IS_SOUND
from orchestration.defs.promotion.results import prediction_result, promotion_result
from orchestration.resources.mlflow import MlflowResource
from orchestration.resources.postgres import PostgresResource

DRIFT_VERDICT_TAG = "opsgraph/drift_verdict"
"""Tag of a training run: the verdict that asked for it."""


@dg.asset(
    key=["model", "promotions"],
    deps=[["model", "failure_24h"], ["model", "failure_7d"]],
    group_name="promotion",
    owners=["team:ml-engineering"],
    kinds={"mlflow", "postgres"},
)
def promotions(
    context: dg.AssetExecutionContext, postgres: PostgresResource, mlflow: MlflowResource
) -> dg.MaterializeResult:
    """Which version serves whom, since when and why: `ml.promotions`. Grain: one row per decision."""
    from ml.datasets.warehouse import tenants
    from ml.drift.ledger import drifted_slices
    from ml.registry.decide import decide_pending
    from ml.registry.promotions import history, serving

    registry = mlflow.registry()
    with postgres.connect() as connection:
        rule = mlflow.promotion_rule()
        # A training that a verdict asked for has to win where the drift is, and not lose elsewhere.
        drifted = drifted_slices(connection, int(context.run_tags.get(DRIFT_VERDICT_TAG, 0)))
        decisions = decide_pending(connection, registry, tenants(postgres.url), HORIZONS, rule, drifted)
        return promotion_result(decisions, serving(connection), history(connection, limit=20))


@dg.asset(
    key=["prediction", "failure"],
    deps=[
        ["model", "promotions"],
        ["intermediate", "int_equipment_metrics_hourly"],
        ["marts", "fact_equipment_events"],
        ["marts", "dim_equipment"],
    ],
    group_name="prediction",
    owners=["team:ml-engineering"],
    kinds={"xgboost", "postgres"},
    automation_condition=WHEN_UPSTREAM_IS_SOUND,
)
def failure_predictions(
    context: dg.AssetExecutionContext, postgres: PostgresResource, mlflow: MlflowResource
) -> dg.MaterializeResult:
    """Failure probability of every machine at the plant clock, with reasons: `ml.failure_predictions`.

    Grain: one row per tenant, machine, horizon, instant scored, model and version.
    """
    from ml.predictions.run import predict_tenants
    from orchestration.environment import Environment

    delay = Environment().data_delay
    outcomes = predict_tenants(
        postgres.url, mlflow.registry(), HORIZONS, run_id=context.run_id, data_delay=delay
    )
    return prediction_result(outcomes)
