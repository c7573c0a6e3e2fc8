"""What changed before an incident, and in which order it is suspected."""

from datetime import timedelta

from findings import NOON, finding, incidents_of

from orchestration.ingest.incidents.causes import PlantChange, rank_causes
from orchestration.ingest.incidents.silences import QuietPeriod, silencing_period
from orchestration.ingest.incidents.topology import Topology, topology_of
from orchestration.ingest.signals import SignalKind

MINUTE = timedelta(minutes=1)


def change(kind: str, subject: str, minutes_before: float) -> PlantChange:
    at = NOON - minutes_before * MINUTE
    return PlantChange(kind, subject, at, f"{kind} of {subject}", "ops.changes 1")


def test_the_release_next_door_ten_minutes_ago_comes_first() -> None:
    """Forbids blaming yesterday's release, or one of a service that nobody affected calls."""
    (incident,) = incidents_of(finding("orders"))
    causes = rank_causes(
        incident,
        [change("release", "orders", 24 * 60), change("release", "db", 10), change("release", "mail", 5)],
        topology_of([("orders", "db")]),
    )
    assert [cause.change.subject for cause in causes] == ["db"]
    assert causes[0].reasons[0] == "orders calls db, which it changed"


def test_what_came_after_caused_nothing() -> None:
    """Forbids a cause that follows its effect, though a window may begin just before the change."""
    (incident,) = incidents_of(finding("orders"))  # evidence from 11:59
    late = change("release", "orders", -5)
    just_after = change("release", "orders", 0.5)
    causes = rank_causes(incident, [late, just_after], Topology())
    assert [cause.change for cause in causes] == [just_after]


def test_maintenance_of_a_machine_is_no_cause_of_slow_answers() -> None:
    """Forbids causes of another family: oil in a press does not slow a web shop."""
    (incident,) = incidents_of(finding("orders"))
    assert rank_causes(incident, [change("maintenance", "orders", 10)], Topology()) == ()


def test_maintenance_explains_readings_for_days() -> None:
    """Forbids forgetting yesterday's replaced bearing when today's vibration is judged."""
    (incident,) = incidents_of(finding("CNC-A-101", kind=SignalKind.TELEMETRY))
    causes = rank_causes(incident, [change("component_replacement", "CNC-A-101", 24 * 60)], Topology())
    assert len(causes) == 1


def test_the_calendar_explains_only_what_it_is_about() -> None:
    """Forbids silencing a machine's neighbour, an attack, or what a planned period does not explain."""
    hour = timedelta(hours=1)
    period = QuietPeriod("calendar 1", "maintenance", "CNC-A-101", NOON - hour, NOON + hour, "new bearing")
    (expected,) = incidents_of(finding("CNC-A-101", kind=SignalKind.TELEMETRY))
    (neighbour,) = incidents_of(finding("CNC-A-102", kind=SignalKind.TELEMETRY))
    (attack,) = incidents_of(finding("CNC-A-101", kind=SignalKind.LOG_SECURITY))
    assert silencing_period(expected, [period], NOON) is period
    assert silencing_period(neighbour, [period], NOON) is None
    assert silencing_period(attack, [period], NOON) is None
    assert silencing_period(expected, [period], NOON + hour) is None
