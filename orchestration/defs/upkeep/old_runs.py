"""Deletes Dagster's finished runs and their events when they are old.

Ticks have a retention of their own in `dagster.yaml`; runs have none and would stay for ever. Add what else
Dagster keeps without end here. Avoid runs that are at work.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

RUNS_AT_ONCE = 500
PARTITION = "dagster/partition"  # the tag of a run that makes one
FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def forget(instance: dg.DagsterInstance, kept: timedelta, now: datetime | None = None) -> int:
    """Delete finished runs that were made before an age, with their events.

    A run that holds an asset's last materialization stays, however old, and so does one of a partition:
    without its events the partition would look as if it had never been made.

    Args:
        instance: Dagster's instance.
        kept: Age up to which runs stay.
        now: Instant that ages are counted from; by default the present.

    Returns:
        Runs that were deleted.
    """
    before = (now or datetime.now(UTC)) - kept
    latest = instance.get_latest_materialization_events(instance.get_asset_keys())
    needed = {event.run_id for event in latest.values() if event is not None}
    filters = dg.RunsFilter(statuses=FINISHED, created_before=before)
    deleted, cursor = 0, None
    while records := instance.get_run_records(filters, limit=RUNS_AT_ONCE, cursor=cursor):
        for record in records:
            if record.dagster_run.run_id in needed or PARTITION in record.dagster_run.tags:
                cursor = record.dagster_run.run_id  # deleted ones are gone; only kept ones must be passed
            else:
                instance.delete_run(record.dagster_run.run_id)
                deleted += 1
    return deleted
