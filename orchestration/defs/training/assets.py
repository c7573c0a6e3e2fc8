"""The failure models as assets: each run registers a challenger per tenant, or says why not."""

from datetime import timedelta
from functools import partial

import dagster as dg

from ml.models.horizons import NEXT_DAY, NEXT_WEEK, Horizon
from orchestration.defs.training.maturity import failures_wait
from orchestration.defs.training.results import check_specs, run_url, training_result
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.mlflow import MlflowResource
from orchestration.resources.postgres import PostgresResource

INPUTS = [
    dg.AssetKey(["intermediate", "int_equipment_metrics_hourly"]),
    dg.AssetKey(["intermediate", "int_failure_labels"]),
    dg.AssetKey(["marts", "fact_equipment_events"]),
    dg.AssetKey(["marts", "dim_equipment"]),
]


class Training(dg.Config):
    """Settings of one training."""

    keep_for_h: float = 0
    """Hours of new data up to which the present version stays; 0 trains on whatever is new."""


def failure_model(horizon: Horizon, name: str) -> dg.AssetsDefinition:
    """The asset of one horizon, with the gate's bars as blocking checks."""
    key = dg.AssetKey(["model", name])

    @dg.asset(
        key=key,
        deps=INPUTS,
        check_specs=check_specs(key, horizon),
        group_name="training",
        owners=["team:ml-engineering"],
        kinds={"xgboost", "mlflow"},
        description=f"Probability of a failure within {horizon.hours} h: calibrated XGBoost, registered in "
        f"MLflow as `{horizon.model_name}`, alias `challenger`. "
        "Grain: one version per tenant and training set.",
    )
    def asset(
        context: dg.AssetExecutionContext,
        postgres: PostgresResource,
        mlflow: MlflowResource,
        kafka: KafkaResource,
        config: Training,
    ) -> dg.MaterializeResult:
        from ml.datasets.warehouse import tenants
        from ml.training.pipeline import train_tenant

        registry = mlflow.registry()
        tags = {"dagster_run_id": context.run_id, "dagster_run_url": run_url(context.run_id)}
        waits = failures_wait(kafka.bootstrap_servers, postgres.url)
        train = partial(train_tenant, postgres.url, registry, horizon=horizon, tags=tags)
        kept = timedelta(hours=config.keep_for_h)
        outcomes = [train(tenant, failures_wait=waits, keep_for=kept) for tenant in tenants(postgres.url)]
        return training_result(outcomes, horizon)

    return asset


failure_24h = failure_model(NEXT_DAY, "failure_24h")
failure_7d = failure_model(NEXT_WEEK, "failure_7d")
