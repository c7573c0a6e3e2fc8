"""Nightly care: the ledger's proof over everything, files of the lake, and what has had its time.

Add an op here when something else must be kept small or proven. Avoid deciding what may go: `ingest` does.
"""

from datetime import timedelta

import dagster as dg

from orchestration.defs.landing.services import landing_services
from orchestration.environment import Environment
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.lake import LakeResource
from orchestration.resources.postgres import PostgresResource

DEAD_LETTERS_KEPT = timedelta(days=90)


@dg.op(description="Few and sorted files per day; snapshots older than a week go.")
def keep_up_lake(
    context: dg.OpExecutionContext, postgres: PostgresResource, kafka: KafkaResource, lake: LakeResource
) -> None:
    """One row of metadata per table."""
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.lake_upkeep import keep_up

    done = keep_up(landing_services(postgres, kafka, lake), load_contracts())
    said = {
        item.table: f"{item.files_before} → {item.files_after} files, {item.expired} snapshots"
        for item in done
    }
    context.add_output_metadata(dict(said))


@dg.op(description="Bytes of refused messages older than 90 days go, unless a legal hold keeps them.")
def expire_dead_letters(
    context: dg.OpExecutionContext, postgres: PostgresResource, kafka: KafkaResource, lake: LakeResource
) -> None:
    """The rows stay: the ledger counts them."""
    from orchestration.ingest.contracts import Direction, load_contracts
    from orchestration.ingest.retention import expire_everywhere

    landed = [item for item in load_contracts().values() if item.direction is Direction.IN]
    services = landing_services(postgres, kafka, lake)
    expiry = expire_everywhere(services, landed, DEAD_LETTERS_KEPT, is_dry_run=False)
    context.add_output_metadata({"due": expiry.count, "legal_holds": len(expiry.held)})


@dg.op(
    description="Days older than OPSGRAPH_HOT_DAYS leave raw, older than OPSGRAPH_WARM_DAYS the warm prefix."
)
def move_old_days(
    context: dg.OpExecutionContext, postgres: PostgresResource, kafka: KafkaResource, lake: LakeResource
) -> None:
    """Nothing to do where neither is set; what is held says why."""
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.temperature import move_days

    settings = Environment()
    ages = [timedelta(days=days) if days else None for days in (settings.hot_days, settings.warm_days)]
    moves = move_days(landing_services(postgres, kafka, lake), load_contracts(), *ages, is_dry_run=False)
    held = [f"{move.topic} {move.day}: {'; '.join(move.held)}" for move in moves if move.held]
    context.add_output_metadata({"moved": sum(move.is_done for move in moves), "held": held})


@dg.op(description="Finished runs older than OPSGRAPH_RUNS_KEPT_DAYS go with their events.")
def forget_old_runs(context: dg.OpExecutionContext) -> None:
    """The run of an asset's last materialization stays: Dagster judges freshness by it."""
    from orchestration.defs.upkeep.old_runs import forget

    forgotten = forget(context.instance, timedelta(days=Environment().dagster_runs_kept_days))
    context.add_output_metadata({"runs": forgotten})


@dg.op(description="Count every row of raw and lake against the ledger, also those counted before.")
def count_everything_again(
    context: dg.OpExecutionContext, postgres: PostgresResource, kafka: KafkaResource, lake: LakeResource
) -> None:
    """Fails where a row is gone that an earlier check has counted: a landing's own check counts new rows."""
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.landing import landed_topics
    from orchestration.ingest.ledger_check import check_ledger

    contracts = load_contracts()
    report = check_ledger(landing_services(postgres, kafka, lake), contracts, landed_topics(contracts))
    context.add_output_metadata(
        {"rows": report.counts.landed, "faults": [str(item) for item in report.faults]}
    )
    if not report.is_balanced:
        raise dg.Failure("; ".join(map(str, report.faults)), allow_retries=False)


@dg.job(description="Care of what landing and Dagster keep.", executor_def=dg.in_process_executor)
def care() -> None:
    """Set off nightly, or by hand."""
    count_everything_again()
    keep_up_lake()
    expire_dead_letters()
    move_old_days()
    forget_old_runs()


nightly_care = dg.ScheduleDefinition(
    name="nightly_care",
    job=care,
    cron_schedule="20 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
