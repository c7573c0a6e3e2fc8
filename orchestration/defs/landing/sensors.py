"""Lands what waits in Kafka while no landing service runs.

Add a sensor here when landing must react to something else. Avoid consuming in a tick: the tick asks
for offsets, a run lands them.
"""

import dagster as dg

from orchestration.defs.landing.asking import EVIDENCE_TAG, key_to_ask_again
from orchestration.defs.landing.assets import LANDED, raw_key, raw_tables
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.lake import LakeResource
from orchestration.resources.postgres import PostgresResource

# One process: a run of five small topics takes 2 s this way, and a process per topic would take 10.
land = dg.define_asset_job(
    name="land",
    selection=dg.AssetSelection.assets(*raw_tables),
    description="Land everything that Kafka holds.",
    executor_def=dg.in_process_executor,
    tags={"dagster/max_retries": "2"},
)


@dg.sensor(
    job=land,
    name="kafka_lag",
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests a landing run for topics with waiting offsets, unless a service lands them.",
)
def kafka_lag(
    context: dg.SensorEvaluationContext, postgres: PostgresResource, kafka: KafkaResource, lake: LakeResource
) -> dg.SensorResult | dg.SkipReason:
    """The cursor is the evidence of the last request: the same offsets are asked for again if it failed."""
    from orchestration.defs.landing.services import landing_services
    from orchestration.ingest.lag import waiting_evidence

    found = waiting_evidence(landing_services(postgres, kafka, lake), [item.topic for item in LANDED])
    if found.holder:
        return dg.SkipReason(f"{found.holder} lands the topics")
    if not found.evidence:
        return dg.SkipReason("nothing waits")
    is_new = found.evidence != context.cursor
    run_key = found.evidence if is_new else key_to_ask_again(context.instance, land.name, found.evidence)
    if run_key is None:
        return dg.SkipReason(f"a run for {found.evidence} was requested before")
    keys = [raw_key(item) for item in LANDED if item.topic in found.topics]
    request = dg.RunRequest(run_key=run_key, asset_selection=keys, tags={EVIDENCE_TAG: found.evidence})
    return dg.SensorResult(run_requests=[request], cursor=found.evidence)
