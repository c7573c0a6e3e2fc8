"""Sensor grades, feature drift and drift verdicts as assets of one monitoring run."""

import dagster as dg

from orchestration.automation import WHEN_UPSTREAM_IS_SOUND
from orchestration.defs.monitoring.results import monitor_results
from orchestration.resources.postgres import PostgresResource

_OWNERS = ["team:ml-engineering"]


@dg.multi_asset(
    name="monitor",
    specs=[
        dg.AssetSpec(
            key=["monitor", "sensor_grades"],
            deps=[["intermediate", "int_equipment_metrics_hourly"], ["prediction", "failure"]],
            group_name="monitoring",
            owners=_OWNERS,
            kinds={"postgres", "python"},
            description="Which sensors are fit for training and scoring: `ml.sensor_grades`. "
            "Grain: one row per machine, metric and instant graded.",
            automation_condition=WHEN_UPSTREAM_IS_SOUND,
        ),
        dg.AssetSpec(
            key=["monitor", "drift"],
            deps=[["monitor", "sensor_grades"]],
            group_name="monitoring",
            owners=_OWNERS,
            kinds={"python"},
            description="Effect sizes of each metric by machine model over the last 7 days, against "
            "thresholds from the reference itself. Grain: machine model and metric.",
            automation_condition=WHEN_UPSTREAM_IS_SOUND,
        ),
        dg.AssetSpec(
            key=["monitor", "drift_verdicts"],
            deps=[["monitor", "drift"], ["marts", "fact_equipment_events"]],
            group_name="monitoring",
            owners=_OWNERS,
            kinds={"postgres", "python"},
            description="What a change is, before anything is retrained: `ml.drift_verdicts`. "
            "Grain: one row per decision.",
            automation_condition=WHEN_UPSTREAM_IS_SOUND,
        ),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "sensors_are_usable",
            asset=["monitor", "sensor_grades"],
            description="No sensor that a machine has is unfit for training and scoring.",
        ),
        dg.AssetCheckSpec(
            "no_feature_is_far_off",
            asset=["monitor", "drift"],
            description="z of the last week's mean against the reference is at most 5 for every metric.",
        ),
        dg.AssetCheckSpec(
            "no_retraining_is_asked_for",
            asset=["monitor", "drift_verdicts"],
            description="No verdict of this run says that a model is wrong.",
        ),
    ],
)
def monitor(context: dg.AssetExecutionContext, postgres: PostgresResource):
    """Grade sensors, test features, judge machines and models, act on the verdicts."""
    from orchestration.drift_alerts import monitor_and_alert

    yield from monitor_results(monitor_and_alert(postgres.url, run_id=context.run_id))
