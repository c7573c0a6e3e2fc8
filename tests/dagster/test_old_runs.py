"""Old runs go with their events; what Dagster still judges by stays."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.defs.upkeep.old_runs import forget


@dg.asset
def reading() -> int:
    """An asset."""
    return 1


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["monday", "tuesday"]))
def line() -> int:
    """An asset with partitions."""
    return 1


@dg.op
def look() -> None:
    """Work that leaves no asset."""


@dg.job
def looking() -> None:
    """A job without assets."""
    look()


def test_finished_runs_go_but_for_the_last_materializations() -> None:
    """Forbids a clean-up that makes an asset or a partition look as if it had never been made."""
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            dg.materialize([reading], instance=instance)
        for day in ("monday", "tuesday"):
            dg.materialize([line], instance=instance, partition_key=day)
        for _ in range(3):
            looking.execute_in_process(instance=instance)
        latest = instance.get_latest_materialization_event(dg.AssetKey("reading"))
        assert latest is not None

        assert forget(instance, timedelta(days=1)) == 0
        # Seven runs: the three of the job go, and the older one of `reading`.
        assert forget(instance, timedelta(days=90), datetime.now(UTC) + timedelta(days=91)) == 4

        kept = instance.get_latest_materialization_event(dg.AssetKey("reading"))
        assert kept is not None and kept.run_id == latest.run_id
        assert instance.get_materialized_partitions(dg.AssetKey("line")) == {"monday", "tuesday"}
