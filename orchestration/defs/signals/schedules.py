"""When signal models are trained: every day, after the failure models; Prophet is tried then too."""

import dagster as dg

from orchestration.automation import RETRY_TWICE

signals = dg.define_asset_job(
    name="signals",
    selection=dg.AssetSelection.groups("signals"),
    description="Choose detectors and forecasts, train quality, promote what wins, score and forecast.",
    config={"ops": {"model__forecast": {"config": {"with_prophet": True}}}},
    op_retry_policy=RETRY_TWICE,
    executor_def=dg.in_process_executor,
)

signals_daily = dg.ScheduleDefinition(
    name="signals_daily",
    job=signals,
    cron_schedule="45 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
