"""Landing again in Dagster: a job partitioned by day of landing, so that a backfill is a range of days.

A launch from the web UI or a backfill has no run key, so the same day can be landed again as often as
wanted; a sensor or schedule that asks must put the reason into its key, because run keys count for ever.
Add a job here when landed data must be had again. Avoid logic: `ingest.reland` has it.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from orchestration.defs.landing.assets import CONTRACTS, LANDED
from orchestration.defs.landing.services import landing_services
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.lake import LakeResource
from orchestration.resources.postgres import PostgresResource

LANDING_DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", timezone="UTC", end_offset=1)


class LandAgain(dg.Config):
    """Topics of which the day is landed again; all by default."""

    topics: list[str] = Field(default_factory=list)


@dg.op(
    description="Land what was landed on a day (UTC) again: missing rows come back, new readings are added."
)
def land_day_again(
    context: dg.OpExecutionContext,
    config: LandAgain,
    postgres: PostgresResource,
    kafka: KafkaResource,
    lake: LakeResource,
) -> None:
    """Fails where a batch can be had from nowhere, after all others were landed."""
    from orchestration.ingest.reland import Window, reland

    since = datetime.fromisoformat(context.partition_key).replace(tzinfo=UTC)
    services, missing = landing_services(postgres, kafka, lake), list[str]()
    for topic in config.topics or [contract.topic for contract in LANDED]:
        window = Window(topic, since=since, until=since + timedelta(days=1), may_be_empty=True)
        report = reland(services, CONTRACTS, window, context.run_id)
        context.log.info("%s: %s", topic, ", ".join(report.sentences()) or "nothing was landed on this day")
        missing += report.unreachable
    if missing:
        raise dg.Failure("; ".join(missing))


@dg.job(
    name="land_again",
    partitions_def=LANDING_DAYS,
    description="What was landed on a day, again, to the same result.",
    executor_def=dg.in_process_executor,
)
def land_again() -> None:
    """Set off by hand or as a backfill."""
    land_day_again()
