"""Briefs incidents, notices dead services, and reports failed runs.

The incident service watches Dagster's daemons, sensors and schedules; this watches the services, so that
each side's death is seen by the other. Add a sensor here when an incident must set something off.
"""

import dagster as dg

from orchestration.defs.logs.assets import incident_briefings
from orchestration.environment import Environment
from orchestration.resources.postgres import PostgresResource

brief_incidents = dg.define_asset_job(
    name="brief_incidents",
    selection=dg.AssetSelection.assets(incident_briefings),
    description="Let the copilot brief open incidents.",
    executor_def=dg.in_process_executor,
)


@dg.sensor(
    job=brief_incidents,
    name="new_incidents",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests a briefing for incidents that have none; the run key is which ones.",
)
def new_incidents(
    context: dg.SensorEvaluationContext, postgres: PostgresResource
) -> dg.SensorResult | dg.SkipReason:
    """The same incidents are never asked for twice."""
    from orchestration.incident_briefing import can_brief, without_briefing

    with postgres.connect() as connection:
        if not can_brief(connection):
            return dg.SkipReason("no index build is published yet: the copilot has nothing to cite")
        waiting = without_briefing(connection)
    if not waiting:
        return dg.SkipReason("every open incident is briefed")
    evidence = ",".join(item.fingerprint[:12] for item in waiting)
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=evidence)])


@dg.sensor(
    name="services_alive",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    job=brief_incidents,
    description="A service without signs of life becomes an incident; stands in for a dead incident service.",
)
def services_alive(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Nothing is requested: signals are written, and grouped here while no incident service is alive."""
    from orchestration.incident_parts import watch_services

    return dg.SkipReason(watch_services(Environment()))


@dg.run_failure_sensor(
    name="failed_runs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="A failed run becomes a signal about its job.",
)
def failed_runs(context: dg.RunFailureSensorContext) -> None:
    """One signal per failed run; the incident groups runs of one job."""
    from orchestration.incident_parts import report_failed_run

    run = context.dagster_run
    report_failed_run(Environment(), run.job_name, run.run_id, context.failure_event.message or "failed")
