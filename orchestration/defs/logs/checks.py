"""Whether the windows hold what was landed, keep up with it, and whether templates explode.

Add a check here when it judges a day of logs. Avoid counting: `orchestration.ingest.log_days` does.
"""

from datetime import timedelta

import dagster as dg

from orchestration.defs.logs.assets import log_templates, log_windows
from orchestration.defs.logs.partitions import LOG_DAYS
from orchestration.resources.postgres import PostgresResource

LONGEST_LAG = timedelta(minutes=5)
MOST_NEW_TEMPLATES = 500
"""New forms a day above which masking has failed on some field: a week of the plant's services has 60."""


@dg.asset_check(
    asset=log_windows,
    partitions_def=LOG_DAYS,
    name="windows_hold_every_landed_line",
    description="No closed minute holds fewer lines than the ledger's raw table has for it.",
)
def windows_hold_every_landed_line(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource
) -> dg.AssetCheckResult:
    """Compare each closed minute with what was landed."""
    from orchestration.defs.logs.results import figures
    from orchestration.ingest.log_days import day_of, window_day

    with postgres.connect() as connection:
        found = window_day(connection, day_of(context.partition_key))
    return dg.AssetCheckResult(passed=found.is_complete, metadata=figures(found))


@dg.asset_check(
    asset=log_windows,
    name="watermark_keeps_up",
    description=f"Judged windows are at most {LONGEST_LAG.seconds // 60} minutes behind the landed lines.",
)
def watermark_keeps_up(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Compare the slowest tenant's judged windows with its newest landed line."""
    from orchestration.ingest.log_days import watermark_lag

    with postgres.connect() as connection:
        lag = watermark_lag(connection)
    return dg.AssetCheckResult(
        passed=lag <= LONGEST_LAG,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"lag_s": lag.total_seconds()},
    )


@dg.asset_check(
    asset=log_templates,
    partitions_def=LOG_DAYS,
    name="templates_do_not_explode",
    description=f"At most {MOST_NEW_TEMPLATES} new forms of lines in a day.",
)
def templates_do_not_explode(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource
) -> dg.AssetCheckResult:
    """Count the forms that a day brought."""
    from orchestration.defs.logs.results import figures
    from orchestration.ingest.log_days import day_of, template_day

    with postgres.connect() as connection:
        found = template_day(connection, day_of(context.partition_key))
    return dg.AssetCheckResult(
        passed=found.new <= MOST_NEW_TEMPLATES,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=figures(found),
    )
