"""Who joins whom, one rule at a time."""

import random

from findings import NOON, finding, incidents_of

from orchestration.ingest.incidents.grouping import Step, group
from orchestration.ingest.incidents.model import IncidentState, Severity
from orchestration.ingest.incidents.topology import Topology, edges_of_traces, topology_of
from orchestration.ingest.signals import SignalKind

# Every service is known to call or be called, so that chance meetings explain nothing.
APART = (("a", "x1"), ("b", "x2"), ("c", "x3"))


def test_a_service_and_its_callers_are_one_incident() -> None:
    """Forbids an alert per service of one failing chain; the callee that all wait for is named first."""
    calls = (("web", "orders"), ("orders", "db"))
    (only,) = incidents_of(finding("web"), finding("orders"), finding("db", score=7), calls=calls)
    assert only.affected.keys() == {"web", "orders", "db"}
    assert only.subject == "db"


def test_services_without_a_call_between_them_stay_apart() -> None:
    """Forbids merging whatever fails in the same minute when the calls say that it is unrelated."""
    assert len(incidents_of(finding("a"), finding("b"), calls=APART)) == 2


def test_an_unknown_service_that_fails_in_the_same_minute_joins() -> None:
    """Forbids two pages for one cause where nothing is traced: troubles are rare, coincidences rarer."""
    assert len(incidents_of(finding("a"), finding("unknown"))) == 1
    # Two minutes later it is news of its own.
    assert len(incidents_of(finding("a"), finding("unknown", 3))) == 2


def test_a_pause_longer_than_four_minutes_separates() -> None:
    """Forbids an incident that swallows the next one on the same service ten minutes later."""
    near = incidents_of(finding("a"), finding("a", 4.5))
    far = incidents_of(finding("a"), finding("a", 11))
    # 4.5 minutes after noon the evidence began at 3.5, within the pause; 11 minutes are 10 apart.
    assert (len(near), len(far)) == (1, 2)


def test_a_bridge_makes_two_young_incidents_one() -> None:
    """Forbids leaving two incidents open once a finding shows that they are one."""
    calls = (("a", "hub"), ("b", "hub"), ("z", "y"))
    grouped = group([finding("a"), finding("b", 0.99), finding("hub", 1.5)], [], topology_of(calls))
    states = sorted(item.state.value for item in grouped.incidents.values())
    merged = [change for change in grouped.changes if change.step is Step.MERGED]
    assert states in (["open"], ["merged", "open"])
    assert len({grouped.members[place] for place in range(3)}) == 1
    assert len(merged) == states.count("merged")


def test_another_tenants_findings_never_join() -> None:
    """Forbids a leak between tenants through an incident."""
    found = incidents_of(finding("a"), finding("a", tenant="azure-pdm"))
    assert {item.tenant_id for item in found} == {"demo-plant", "azure-pdm"}


def test_the_order_of_a_batch_does_not_matter() -> None:
    """Forbids incidents that depend on the order in which detectors wrote."""
    signals = [finding(name, minute) for minute in range(6) for name in ("a", "b", "c", "x1")]
    expected = {item.fingerprint for item in incidents_of(*signals, calls=APART)}
    for seed in range(5):
        shuffled = random.Random(seed).sample(signals, len(signals))
        assert {item.fingerprint for item in incidents_of(*shuffled, calls=APART)} == expected


def test_a_drift_verdict_joins_the_machines_incident_without_paging_again() -> None:
    """Forbids a second page for the machine whose trouble a late verdict explains."""
    grouped = group(
        [
            finding("CNC-A-101", 0, SignalKind.TELEMETRY),
            finding("CNC-A-102", 60 * 8, SignalKind.TELEMETRY),  # moves the clock: the first one is over
            finding("CNC-A-101", 60 * 20, SignalKind.DRIFT),
        ],
        [],
        Topology(),
    )
    first = next(item for item in grouped.incidents.values() if item.subject == "CNC-A-101")
    assert first.kinds == {SignalKind.TELEMETRY, SignalKind.DRIFT}
    assert (first.state, first.reopened) == (IncidentState.RESOLVED, 0)


def test_severity_rises_and_never_falls() -> None:
    """Forbids an incident that looks harmless again because its last finding was small."""
    (only,) = incidents_of(
        finding("a", kind=SignalKind.LOG_TEMPLATES), finding("a", 1, SignalKind.LOG_SECURITY), finding("a", 2)
    )
    assert only.severity is Severity.CRITICAL
    (watched,) = incidents_of(finding("a", kind=SignalKind.LOG_TEMPLATES))
    assert watched.severity is Severity.INFO


def test_calls_are_read_from_traces() -> None:
    """Forbids taking a return for a call, or one odd trace for a topology."""
    lines = []
    for trace in range(5):
        # web asks orders, orders asks db, db answers, orders answers, web asks mail.
        for second, service in enumerate(("web", "orders", "db", "orders", "web", "mail")):
            lines.append((f"t{trace}", service, NOON.replace(second=second)))
    lines += [("odd", "db", NOON), ("odd", "web", NOON.replace(second=1))]
    assert edges_of_traces(lines) == (("orders", "db"), ("web", "mail"), ("web", "orders"))
