"""When the executive report is written: every Monday morning, before people come in."""

import dagster as dg

from orchestration.automation import RETRY_TWICE
from orchestration.defs.copilot.assets import copilot_report

report = dg.define_asset_job(
    name="report",
    selection=dg.AssetSelection.assets(copilot_report),
    description="Key figures, risks, causes and changes of the week, for each tenant.",
    op_retry_policy=RETRY_TWICE,
    executor_def=dg.in_process_executor,
)

report_weekly = dg.ScheduleDefinition(
    name="report_weekly",
    job=report,
    cron_schedule="0 5 * * 1",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
