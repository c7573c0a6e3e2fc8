"""Windows, templates, incidents and alerts of a day. The services fill today; a click fills another day.

Add an asset when the logs give something that is looked at by day. Avoid logic: `orchestration.ingest` has
it.
"""

import dagster as dg

from orchestration.defs.logs.partitions import LOG_DAYS
from orchestration.environment import Environment
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.postgres import PostgresResource

_OWNERS = ["team:reliability-engineering"]
_GROUP = "logs"


@dg.asset(
    key=["logs", "windows"],
    deps=[["raw", "raw_logs"]],
    partitions_def=LOG_DAYS,
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"postgres", "kafka"},
)
def log_windows(
    context: dg.AssetExecutionContext, postgres: PostgresResource, kafka: KafkaResource
) -> dg.MaterializeResult:
    """Log lines by minute and source. The window service counts; a run catches up when it does not."""
    from orchestration.defs.logs.results import figures
    from orchestration.ingest.log_days import catch_up, day_of, fill_windows, window_day

    day = day_of(context.partition_key)
    counted = catch_up(postgres.url, kafka.bootstrap_servers)
    with postgres.connect() as connection:
        filled = fill_windows(connection, day)
        found = window_day(connection, day)
    return dg.MaterializeResult(
        metadata={**figures(found), "lines_counted": counted, "minutes_filled": filled}
    )


@dg.asset(
    key=["logs", "templates"],
    deps=[log_windows],
    partitions_def=LOG_DAYS,
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"postgres"},
)
def log_templates(context: dg.AssetExecutionContext, postgres: PostgresResource) -> dg.MaterializeResult:
    """Forms of log lines, mined by the window service: how many there are, and which came this day."""
    from orchestration.defs.logs.results import figures
    from orchestration.ingest.log_days import day_of, template_day

    with postgres.connect() as connection:
        found = template_day(connection, day_of(context.partition_key))
    return dg.MaterializeResult(metadata=figures(found))


@dg.asset(
    key=["logs", "incidents"],
    deps=[log_windows, log_templates],
    partitions_def=LOG_DAYS,
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"postgres"},
)
def log_incidents(context: dg.AssetExecutionContext, postgres: PostgresResource) -> dg.MaterializeResult:
    """Signals of a day that belong to no incident yet, grouped: one incident per cause."""
    from orchestration.defs.logs.results import incidents_metadata
    from orchestration.ingest.incidents.intake import take_in
    from orchestration.ingest.incidents.lifecycle import group_signals
    from orchestration.ingest.log_days import day_of

    day = day_of(context.partition_key)
    with postgres.connect() as connection:
        take_in(connection, Environment().platform_tenant)
        advance = group_signals(connection, day.starts_at, day.ends_at)
        metadata = incidents_metadata(connection, day, advance)
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(
    key=["logs", "alerts"],
    deps=[log_incidents, ["knowledge", "index"]],
    partitions_def=LOG_DAYS,
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"postgres", "kafka"},
)
def log_alerts(context: dg.AssetExecutionContext, postgres: PostgresResource) -> dg.MaterializeResult:
    """What is due is told, each with its cited fix. Incidents that were over a day ago page nobody."""
    from orchestration.defs.logs.results import alerts_metadata
    from orchestration.incident_parts import alert_maker
    from orchestration.ingest.log_days import day_of

    made = alert_maker(Environment()).alert_due(postgres.url)
    with postgres.connect() as connection:
        metadata = alerts_metadata(connection, day_of(context.partition_key))
    return dg.MaterializeResult(metadata={"alerts_made": made, **metadata})


@dg.asset(
    key=["copilot", "incident_briefings"],
    deps=[["knowledge", "index"]],
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"postgres"},
)
def incident_briefings(postgres: PostgresResource) -> dg.MaterializeResult:
    """The copilot's answer about each open incident that has none yet, in the incident's timeline."""
    from orchestration.incident_briefing import brief_incidents

    briefed = brief_incidents(postgres.url, Environment())
    return dg.MaterializeResult(metadata={"briefed": len(briefed), "incidents": ", ".join(briefed) or "none"})
