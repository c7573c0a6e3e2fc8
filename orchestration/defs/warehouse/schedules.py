"""When the warehouse is built: every hour, and its documentation every day."""

import dagster as dg

from orchestration.automation import RETRY_TWICE
from orchestration.defs.warehouse.assets import prediction_marts, warehouse_docs, warehouse_models

warehouse = dg.define_asset_job(
    name="warehouse",
    selection=dg.AssetSelection.assets(warehouse_models, prediction_marts),
    description="Stream to batch: build and test every model from the batches landed since.",
    op_retry_policy=RETRY_TWICE,
    executor_def=dg.in_process_executor,
)

docs = dg.define_asset_job(
    name="docs",
    selection=dg.AssetSelection.assets(warehouse_docs),
    description="Generate the dbt docs that `opsgraph docs` serves.",
    op_retry_policy=RETRY_TWICE,
    executor_def=dg.in_process_executor,
)

# Five past: the batches of the full hour have landed. A missed hour is not caught up, since the next
# build takes every batch that is left.
warehouse_hourly = dg.ScheduleDefinition(
    name="warehouse_hourly",
    job=warehouse,
    cron_schedule="5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

docs_daily = dg.ScheduleDefinition(
    name="docs_daily",
    job=docs,
    cron_schedule="30 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
