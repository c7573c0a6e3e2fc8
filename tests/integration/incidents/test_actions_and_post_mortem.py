"""Proposals wait for a person and are done once; the post-mortem tells all of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg
import pytest
from made_up_signals import NOON, TENANT, finding, maker, write

from orchestration.ingest.heartbeats import beat
from orchestration.ingest.incidents import actions, store
from orchestration.ingest.incidents.causes import PlantChange
from orchestration.ingest.incidents.change_log import announce_change
from orchestration.ingest.incidents.intake import take_in
from orchestration.ingest.incidents.lifecycle import group_signals
from orchestration.ingest.incidents.liveness import Component, known_components, liveness_signals
from orchestration.ingest.incidents.measures import operation_measures, stage_latencies
from orchestration.ingest.incidents.post_mortem import gather
from orchestration.ingest.incidents.post_mortem import write as write_post_mortem
from orchestration.ingest.signals import SignalKind

pytestmark = pytest.mark.integration


@dataclass
class Restarts:
    """An executor that counts."""

    done: list[str] = field(default_factory=list)
    fails: bool = False

    def dry_run(self, parameters: Mapping[str, str]) -> str:
        """Say it."""
        return f"would restart {parameters['service']}"

    def run(self, parameters: Mapping[str, str]) -> str:
        """Count it."""
        if self.fails:
            raise OSError("no supervisor")
        self.done.append(parameters["service"])
        return "restarted"


def dead_landing(database_url: str):
    write(database_url, finding("service:landing", kind=SignalKind.LIVENESS))
    with psycopg.connect(database_url) as connection:
        group_signals(connection)
    maker().alert_due(database_url)
    with psycopg.connect(database_url) as connection:
        (item,) = store.active_incidents(connection, TENANT)
        return item


def test_an_action_is_done_once_and_only_after_approval(database_url: str) -> None:
    """Forbids acting without a person, acting twice, and leaving no trace of who allowed it."""
    item, restarts = dead_landing(database_url), Restarts()
    with psycopg.connect(database_url) as connection:
        (proposal,) = actions.proposals_of(connection, item)
        assert (proposal.action, proposal.status) == ("restart_service", "approval_required")
        said = actions.rehearse(
            connection, item, proposal.proposal_id, {"restart_service": restarts}, "kim", NOON
        )
        assert (said, restarts.done) == ("would restart landing", [])
        connection.commit()
        act = (connection, item, proposal.proposal_id, {"restart_service": restarts}, "kim", NOON)
        assert actions.approve_and_run(*act) == "restarted"
        with pytest.raises(actions.NotAllowedError, match="decided before"):
            actions.approve_and_run(*act)
        steps = [(event.step, event.actor) for event in store.timeline(connection, item)]
    assert restarts.done == ["landing"]
    assert ("action_approved", "kim") in steps and ("action_executed", "kim") in steps


def test_a_failed_action_is_kept_as_failed(database_url: str) -> None:
    """Forbids an action that failed halfway and looks as if nobody had tried."""
    item = dead_landing(database_url)
    with psycopg.connect(database_url) as connection:
        (proposal,) = actions.proposals_of(connection, item)
        connection.commit()
        with pytest.raises(RuntimeError, match="no supervisor"):
            actions.approve_and_run(
                connection, item, proposal.proposal_id, {"restart_service": Restarts(fails=True)}, "kim", NOON
            )
        (proposal,) = actions.proposals_of(connection, item)
    assert proposal.status == "failed"


def test_an_action_that_is_not_on_the_list_is_refused(database_url: str) -> None:
    """Forbids smuggling an action in through the table of proposals."""
    item = dead_landing(database_url)
    with psycopg.connect(database_url) as connection, pytest.raises(actions.NotAllowedError):
        actions.keep_proposals(connection, item, [actions.Proposal("drop_database", "why not")])


def test_the_post_mortem_tells_what_happened(database_url: str) -> None:
    """Forbids a report that leaves out the cause candidate, the source of a step, or who decided."""
    with psycopg.connect(database_url) as connection:
        release = PlantChange(
            "release", "orders", NOON - timedelta(minutes=5), "orders went to release 7", ""
        )
        announce_change(connection, TENANT, release, "kim")
    write(database_url, finding("orders"), finding("orders", 1, SignalKind.LOG_ERRORS))
    with psycopg.connect(database_url) as connection:
        group_signals(connection)
    maker().alert_due(database_url)
    with psycopg.connect(database_url) as connection:
        (item,) = store.active_incidents(connection, TENANT)
        text = write_post_mortem(gather(connection, item))
        measured = operation_measures(connection, TENANT)
        stages = {stage.stage for stage in stage_latencies(connection, TENANT)}
    assert "orders went to release 7" in text
    assert "[1] latency@1.0, section Mitigation, step 1" in text
    assert "| 2026-03-02 12:00:00 | opened | opsgraph |" in text
    # The evidence of the first finding begins a minute before its window ends.
    assert (measured.incidents, measured.mttd_s, measured.mttr_s) == (1, 60.0, None)
    assert {"grouping_ms", "retrieval_ms", "window_ms", "signal_to_alert_ms"} <= stages


def test_bursts_of_dead_letters_become_signals(database_url: str) -> None:
    """Forbids a signal per refused message, and silence when a topic's source goes wrong."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            """
            insert into ops.dead_letters (batch_id, topic, topic_id, kafka_partition, kafka_offset,
                error_class, error_message, landed_at)
            select 1, 'equipment-sensors', gen_random_uuid(), 0, n, 'OutOfRange', 'temperature 6553.5',
                date_trunc('minute', now()) - interval '90 seconds'
            from generate_series(1, 40) n
            """
        )
        assert take_in(connection, TENANT) == 1
        group_signals(connection)
        (item,) = store.active_incidents(connection, TENANT)
        assert item.subject == "topic:equipment-sensors"
        take_in(connection, TENANT)  # the same minute is counted again and is the same signal
        assert group_signals(connection).signals == 0


def test_who_stops_beating_is_dead(database_url: str) -> None:
    """Forbids a dead service that nobody misses, and missing one that was taken away long ago."""
    with psycopg.connect(database_url) as connection:
        beat(connection, "service:log-windows", 10.0)
        (item,) = known_components(connection)
    assert item.last_seen_at is not None
    seen = item.last_seen_at
    # Three beats of 10 s and 20 s of grace may pass.
    assert not item.is_dead(seen + timedelta(seconds=49))
    assert item.is_dead(seen + timedelta(seconds=51))
    assert not item.is_dead(seen + timedelta(days=2))
    never = Component("sensor:new", None, timedelta(seconds=30))
    (signal,) = liveness_signals([item, never], TENANT, seen + timedelta(minutes=2))
    assert signal.subject == "service:log-windows"
