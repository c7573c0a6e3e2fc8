"""Findings of made-up services, minutes after noon."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from orchestration.ingest.incidents.grouping import group
from orchestration.ingest.incidents.model import Incident
from orchestration.ingest.incidents.topology import Topology, topology_of
from orchestration.ingest.signals import Signal, SignalKind

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def finding(
    subject: str,
    minute: float = 0.0,
    kind: SignalKind = SignalKind.LOG_ERRORS,
    score: float = 8.0,
    operations: Sequence[str] = (),
    tenant: str = "demo-plant",
) -> Signal:
    """A finding of the window that ends so many minutes after noon."""
    end = NOON + timedelta(minutes=minute)
    return Signal(
        tenant, kind, subject, end, end, score, f"{subject} is wrong", tuple(operations),
        {"window_starts_at": (end - timedelta(minutes=1)).isoformat()},
    )  # fmt: skip


def incidents_of(*signals: Signal, calls: Sequence[tuple[str, str]] = ()) -> list[Incident]:
    """The incidents that signals end in, in order of their start; merged ones left out."""
    topology = topology_of(calls) if calls else Topology()
    grouped = group(signals, [], topology)
    standing = [item for item in grouped.incidents.values() if item.merged_into is None]
    return sorted(standing, key=lambda item: (item.started_at, item.subject))
