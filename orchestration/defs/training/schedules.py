"""When models are trained: every day, after the night's data."""

import dagster as dg

from orchestration.automation import RETRY_TWICE

training = dg.define_asset_job(
    name="training",
    selection=dg.AssetSelection.assets(
        ["model", "failure_24h"], ["model", "failure_7d"], ["model", "promotions"], ["prediction", "failure"]
    ),
    description="Extract as known now, train, evaluate, register, promote what wins, predict.",
    op_retry_policy=RETRY_TWICE,
    executor_def=dg.in_process_executor,
)

training_daily = dg.ScheduleDefinition(
    name="training_daily",
    job=training,
    cron_schedule="30 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
