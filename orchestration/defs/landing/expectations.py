"""The contracts' Great Expectations suites on the newest landed rows, once an hour.

They stand apart from the raw tables' own checks: Great Expectations takes 4 s to import, and a run that lands
one table should not wait for it. Add nothing here that landing must wait for. Avoid expectations: contracts
have them.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.defs.landing.assets import GROUP, LANDED, OWNERS, raw_key
from orchestration.resources.postgres import PostgresResource

if TYPE_CHECKING:
    from ml.validation.suites import SuiteVerdict

EXPECTATIONS_KEY = dg.AssetKey(["landing", "expectations"])


def suite_result(name: str, verdict: "SuiteVerdict") -> dg.AssetCheckResult:
    """A suite's verdict as the check shows it."""
    failed = "\n".join(f"- {item}" for item in verdict.failed)
    return dg.AssetCheckResult(
        check_name=name,
        passed=not verdict.failed,
        severity=dg.AssetCheckSeverity.ERROR if verdict.is_critical else dg.AssetCheckSeverity.WARN,
        metadata={
            "rows": verdict.rows,
            "expectations": verdict.expectations,
            "failed": dg.MetadataValue.md(failed or "none"),
        },
    )


def check_name(table: str) -> str:
    """Name of a raw table's check."""
    return f"{table}_meets_its_contract"


@dg.asset(
    key=EXPECTATIONS_KEY,
    deps=[raw_key(contract) for contract in LANDED],
    description="Verdicts of the suites that `opsgraph contracts sync` generates, on up to 10,000 of the "
    "newest rows of each raw table. An error where landing should have refused a row, else a warning.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "python"},
    check_specs=[dg.AssetCheckSpec(check_name(item.table), asset=EXPECTATIONS_KEY) for item in LANDED],
)
def expectations(postgres: PostgresResource) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Rows that landed before a contract was narrowed show here, which the landing of new ones can't."""
    from ml.validation.suites import run_suite
    from orchestration.ingest.recent_landing import newest_rows

    with postgres.connect() as connection:
        verdicts = {item.table: run_suite(item.topic, newest_rows(connection, item)) for item in LANDED}
    rows = sum(item.rows for item in verdicts.values())
    yield dg.MaterializeResult(metadata={"rows_looked_at": rows})
    for table, verdict in verdicts.items():
        yield suite_result(check_name(table), verdict)


validate_landed = dg.define_asset_job(
    name="validate_landed",
    selection=dg.AssetSelection.assets(EXPECTATIONS_KEY),
    description="The contracts' suites on the newest rows of each raw table.",
    executor_def=dg.in_process_executor,
    tags={"dagster/max_retries": "2"},
)

hourly_expectations = dg.ScheduleDefinition(
    name="hourly_expectations",
    job=validate_landed,
    cron_schedule="40 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
