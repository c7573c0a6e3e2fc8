"""Signals in Postgres become incidents, alerts and messages for Kafka."""

from datetime import timedelta

import psycopg
import pytest
from made_up_signals import (
    NOON,
    TENANT,
    finding,
    found_nothing,
    maker,
    search_is_down,
    write,
)

from orchestration.ingest.incidents import decisions, store
from orchestration.ingest.incidents.grouping import Step
from orchestration.ingest.incidents.lifecycle import end_quiet_incidents, group_signals
from orchestration.ingest.incidents.model import IncidentState
from orchestration.ingest.signals import SignalKind

pytestmark = pytest.mark.integration
ALL = tuple(IncidentState)


def advance(database_url: str):
    with psycopg.connect(database_url) as connection:
        return group_signals(connection)


def incidents(database_url: str):
    with psycopg.connect(database_url) as connection:
        return store.list_incidents(connection, TENANT, ALL, 100)


def alerts(database_url: str):
    with psycopg.connect(database_url) as connection:
        return connection.execute("select payload from ops.alerts order by created_at").fetchall()


def test_one_cause_is_one_alert_with_its_fix(database_url: str) -> None:
    """Forbids an alert per finding, a fix without its source, and telling the same twice."""
    write(database_url, finding("orders", operations=["checkout"]), finding("web", operations=["checkout"]))
    write(database_url, finding("orders", 1, SignalKind.LOG_ERRORS))
    advance(database_url)

    assert maker().alert_due(database_url) == 1
    assert maker().alert_due(database_url) == 0

    (only,) = incidents(database_url)
    assert only.affected.keys() == {"orders", "web"}
    ((payload,),) = alerts(database_url)
    assert payload["body"]["plan"]["steps"][0]["text"] == "Take load off first."
    assert payload["body"]["plan"]["steps"][0]["citation"] == "[1] latency@1.0, section Mitigation, step 1"
    assert payload["body"]["plan"]["commands"] == [
        {"language": "sql", "text": "select 1", "section": "Diagnosis"}
    ]
    with psycopg.connect(database_url) as connection:
        sent = connection.execute("select topic, message_key from ops.outbox").fetchall()
    assert sent == [("processed_alerts", only.fingerprint.encode())]


def test_no_matching_runbook_is_said(database_url: str) -> None:
    """Forbids a fix from a runbook about something else."""
    write(database_url, finding("orders"))
    advance(database_url)
    maker(found_nothing).alert_due(database_url)

    ((payload,),) = alerts(database_url)
    plan = payload["body"]["plan"]
    assert plan["status"] == "refused"
    assert plan["steps"] == []
    assert "Seal leakage" in plan["reason"]


def test_the_alert_does_not_wait_for_the_index(database_url: str) -> None:
    """Forbids holding a page back while the knowledge index is down, and forgetting the fix afterwards."""
    write(database_url, finding("orders"))
    advance(database_url)
    assert maker(search_is_down).alert_due(database_url) == 1
    assert maker(search_is_down).plan_waiting(database_url) == 0

    assert maker().plan_waiting(database_url) == 1
    assert maker().alert_due(database_url) == 1

    (first,), (second,) = alerts(database_url)
    assert first["body"]["plan"]["status"] == "waiting"
    assert second["body"]["plan"]["status"] == "planned"
    assert (first["revision"], second["revision"]) == (0, 1)


def test_quiet_ends_an_incident_and_its_return_reopens_it(database_url: str) -> None:
    """Forbids an incident that stays open for ever, and a new one when the same trouble flaps."""
    write(database_url, finding("orders"))
    advance(database_url)
    # Four quiet minutes by the plant's clock: another service's finding moves it to minute 4.
    write(database_url, finding("billing", 4.5, score=6.0))
    with psycopg.connect(database_url) as connection:
        group_signals(connection)
    states = {item.subject: item.state for item in incidents(database_url)}
    assert states == {"orders": IncidentState.RESOLVED, "billing": IncidentState.OPEN}

    write(database_url, finding("orders", 5.5))
    back = advance(database_url)

    assert back.count(Step.REOPENED) == 1
    orders = next(item for item in incidents(database_url) if item.subject == "orders")
    assert (orders.state, orders.reopened) == (IncidentState.OPEN, 1)


def test_a_maintenance_window_keeps_the_page_back_until_it_is_over(database_url: str) -> None:
    """Forbids paging for planned work, and staying silent when the trouble outlives it."""
    with psycopg.connect(database_url) as connection:
        decisions.silence(
            connection, TENANT, "ord*", NOON - timedelta(hours=1), NOON + timedelta(minutes=2),
            "release", "kim",
        )  # fmt: skip
    write(database_url, finding("orders"), finding("orders", 1))
    advance(database_url)
    assert maker().alert_due(database_url) == 0

    write(database_url, finding("orders", 3))
    advance(database_url)

    assert maker().alert_due(database_url) == 1
    (only,) = incidents(database_url)
    assert only.silenced_by is None


def test_an_attack_pages_during_maintenance(database_url: str) -> None:
    """Forbids hiding a break-in behind a maintenance window."""
    with psycopg.connect(database_url) as connection:
        decisions.silence(
            connection, TENANT, "*", NOON - timedelta(hours=1), NOON + timedelta(hours=1), "release", "kim"
        )
    write(database_url, finding("orders", kind=SignalKind.LOG_SECURITY))
    advance(database_url)
    assert maker().alert_due(database_url) == 1


def test_last_springs_trouble_pages_nobody(database_url: str) -> None:
    """Forbids a page per anomaly of a year that was backfilled tonight."""
    write(database_url, finding("orders", -60 * 24 * 90), finding("orders", 0))
    advance(database_url)
    assert maker().alert_due(database_url) == 1
    assert {item.silenced_by is None for item in incidents(database_url)} == {True, False}


def test_people_take_and_end_incidents(database_url: str) -> None:
    """Forbids losing who decided what, and deciding about what is over."""
    write(database_url, finding("orders"))
    advance(database_url)
    (item,) = incidents(database_url)
    with psycopg.connect(database_url) as connection:
        decisions.acknowledge(connection, TENANT, item.fingerprint[:8], "kim", NOON)
        ended = decisions.resolve(connection, TENANT, item.fingerprint[:8], "kim", NOON, "rolled back")
        with pytest.raises(decisions.NotPossibleError, match="was resolved at"):
            decisions.acknowledge(connection, TENANT, item.fingerprint, "lee", NOON)
        steps = [(event.step, event.actor) for event in store.timeline(connection, item)]
    assert steps == [("opened", "opsgraph"), ("acknowledged", "kim"), ("resolved", "kim")]
    assert (ended.acknowledged_by, ended.revision) == ("kim", 2)


def test_another_tenants_incident_is_not_found(database_url: str) -> None:
    """Forbids reading or deciding about another tenant's incident by its fingerprint."""
    write(database_url, finding("orders"))
    advance(database_url)
    (item,) = incidents(database_url)
    with psycopg.connect(database_url) as connection, pytest.raises(store.UnknownIncidentError):
        store.find_incident(connection, "azure-pdm", item.fingerprint)


def test_a_dead_service_does_not_wait_for_the_plants_clock(database_url: str) -> None:
    """Forbids that a replay of old data ends the incidents of the platform, or the other way round."""
    write(
        database_url,
        finding("service:landing", 0, SignalKind.LIVENESS),
        finding("orders", 0),
    )
    advance(database_url)
    with psycopg.connect(database_url) as connection:
        end_quiet_incidents(connection, NOON + timedelta(hours=1))
    states = {item.subject: item.state for item in incidents(database_url)}
    assert states == {"service:landing": IncidentState.RESOLVED, "orders": IncidentState.OPEN}
