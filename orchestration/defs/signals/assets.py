"""Models of anomalies, forecasts and quality, their promotions, and their batch output as assets."""

from collections.abc import Iterator

import dagster as dg

from orchestration.automation import WHEN_UPSTREAM_IS_SOUND
from orchestration.defs.signals.results import (
    anomaly_results,
    check_specs,
    forecast_result,
    promotion_result,
    quality_result,
    training_result,
)
from orchestration.resources.mlflow import MlflowResource
from orchestration.resources.postgres import PostgresResource

HOURS = ["intermediate", "int_equipment_metrics_hourly"]
MACHINES = [HOURS, ["marts", "fact_equipment_events"], ["marts", "dim_equipment"]]
LOTS = [
    ["marts", "fact_quality_inspections"],
    ["marts", "fact_sensor_readings"],
    ["marts", "dim_equipment"],
]
PROMOTIONS = ["model", "signal_promotions"]
OWNERS = ["team:ml-engineering"]
# The first time as soon as the warehouse stands; from then on the daily schedule trains.
WHEN_NEVER_TRAINED = (
    dg.AutomationCondition.on_missing() & dg.AutomationCondition.all_deps_blocking_checks_passed()
)


@dg.asset(
    key=["model", "anomaly"],
    deps=MACHINES,
    check_specs=check_specs("anomaly"),
    group_name="signals",
    owners=OWNERS,
    kinds={"scikitlearn", "mlflow"},
    automation_condition=WHEN_NEVER_TRAINED,
)
def anomaly_model(
    context: dg.AssetExecutionContext, postgres: PostgresResource, mlflow: MlflowResource
) -> dg.MaterializeResult:
    """The detector of each machine class, chosen by backtest, registered as `anomaly`.

    Grain: one version per tenant and data.
    """
    from ml.anomaly.model_version import train_anomalies
    from ml.datasets.warehouse import tenants

    registry, tags = mlflow.registry(), {"dagster_run_id": context.run_id}
    return training_result(
        "anomaly",
        [train_anomalies(postgres.url, registry, name, tags=tags) for name in tenants(postgres.url)],
    )


class ForecastConfig(dg.Config):
    """How candidates are chosen."""

    with_prophet: bool = False


@dg.asset(
    key=["model", "forecast"],
    deps=[*MACHINES, ["marts", "fact_production_metrics"]],
    check_specs=check_specs("forecast"),
    group_name="signals",
    owners=OWNERS,
    kinds={"numpy", "mlflow"},
    automation_condition=WHEN_NEVER_TRAINED,
)
def forecast_model(
    context: dg.AssetExecutionContext,
    config: ForecastConfig,
    postgres: PostgresResource,
    mlflow: MlflowResource,
) -> dg.MaterializeResult:
    """The candidate of each metric and production figure, chosen by backtest, registered as `forecast`.

    Grain: one version per tenant and data.
    """
    from ml.datasets.warehouse import tenants
    from ml.forecast.model_version import train_forecasts

    registry, tags = mlflow.registry(), {"dagster_run_id": context.run_id}
    return training_result(
        "forecast",
        [
            train_forecasts(postgres.url, registry, name, with_prophet=config.with_prophet, tags=tags)
            for name in tenants(postgres.url)
        ],
    )


@dg.asset(
    key=["model", "quality"],
    deps=LOTS,
    check_specs=check_specs("quality"),
    group_name="signals",
    owners=OWNERS,
    kinds={"xgboost", "mlflow"},
    automation_condition=WHEN_NEVER_TRAINED,
)
def quality_model(
    context: dg.AssetExecutionContext, postgres: PostgresResource, mlflow: MlflowResource
) -> dg.MaterializeResult:
    """The class of a lot from how it was made: multi-class XGBoost, registered as `quality`.

    Grain: one version per tenant and data.
    """
    from ml.datasets.warehouse import tenants
    from ml.quality.model_version import train_quality

    registry, tags = mlflow.registry(), {"dagster_run_id": context.run_id}
    return training_result(
        "quality",
        [train_quality(postgres.url, registry, name, tags=tags) for name in tenants(postgres.url)],
    )


@dg.asset(
    key=PROMOTIONS,
    deps=[["model", "anomaly"], ["model", "forecast"], ["model", "quality"]],
    group_name="signals",
    owners=OWNERS,
    kinds={"mlflow", "postgres"},
    automation_condition=WHEN_UPSTREAM_IS_SOUND,
)
def signal_promotions(
    context: dg.AssetExecutionContext, postgres: PostgresResource, mlflow: MlflowResource
) -> dg.MaterializeResult:
    """Decisions on challengers of these models, in the ledger `ml.promotions`. Grain: one per decision."""
    from ml.datasets.warehouse import tenants
    from ml.registry.signal_versions import decide_signals

    with postgres.connect() as connection:
        return promotion_result(decide_signals(connection, mlflow.registry(), tenants(postgres.url)))


def _prediction(name: str, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        ["prediction", name],
        deps=[PROMOTIONS, *MACHINES],
        group_name="signals",
        owners=OWNERS,
        kinds={"postgres"},
        description=description,
        automation_condition=WHEN_UPSTREAM_IS_SOUND,
    )


@dg.multi_asset(
    name="anomalies",
    specs=[
        _prediction(
            "anomaly_scores",
            "How strange each machine-hour of the last two weeks was: `ml.anomaly_scores`. "
            "Grain: one row per tenant, machine and hour.",
        ),
        _prediction(
            "anomalies",
            "Stretches of anomalous hours with the sensors behind them: `ml.anomaly_events`. "
            "Grain: one row per tenant, machine, metric set and start.",
        ),
    ],
)
def anomalies(
    context: dg.AssetExecutionContext, postgres: PostgresResource, mlflow: MlflowResource
) -> Iterator[dg.MaterializeResult]:
    """Score every machine with its class's detector, fitted on normal hours until two weeks ago."""
    from ml.anomaly.scoring import score_tenant
    from ml.datasets.warehouse import tenants
    from orchestration.environment import Environment

    registry, delay = mlflow.registry(), Environment().data_delay
    names = tenants(postgres.url)
    yield from anomaly_results(
        [score_tenant(postgres.url, registry, name, data_delay=delay) for name in names]
    )


@dg.asset(
    key=["prediction", "forecasts"],
    deps=[PROMOTIONS, *MACHINES, ["marts", "fact_production_metrics"]],
    group_name="signals",
    owners=OWNERS,
    kinds={"postgres"},
    automation_condition=WHEN_UPSTREAM_IS_SOUND,
)
def forecasts(
    context: dg.AssetExecutionContext, postgres: PostgresResource, mlflow: MlflowResource
) -> dg.MaterializeResult:
    """Next day of every metric, next week of production: `ml.forecasts`, `ml.forecast_violations`.

    Grain: one row per tenant, subject, metric, instant of the forecast and instant ahead.
    """
    from ml.datasets.warehouse import tenants
    from ml.forecast.run import forecast_tenant

    registry = mlflow.registry()
    return forecast_result([forecast_tenant(postgres.url, registry, name) for name in tenants(postgres.url)])


@dg.asset(
    key=["prediction", "quality"],
    deps=[PROMOTIONS, *LOTS],
    group_name="signals",
    owners=OWNERS,
    kinds={"xgboost", "postgres"},
    automation_condition=WHEN_UPSTREAM_IS_SOUND,
)
def quality_predictions(
    context: dg.AssetExecutionContext, postgres: PostgresResource, mlflow: MlflowResource
) -> dg.MaterializeResult:
    """Predicted class of the last two weeks' lots: `ml.quality_predictions`. Grain: one row per lot."""
    from ml.datasets.warehouse import tenants
    from ml.quality.run import predict_quality

    registry = mlflow.registry()
    return quality_result([predict_quality(postgres.url, registry, name) for name in tenants(postgres.url)])
