"""What changed before an incident, ranked: the first question of whoever is on call.

Add a kind of change here with the kinds of trouble that it can cause. Avoid SQL: `change_log` reads.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestration.ingest.incidents.model import Family, Incident
from orchestration.ingest.incidents.topology import Topology

LOOK_BACK = timedelta(days=7)
KEPT_CAUSES = 5
LEAST_LIKELIHOOD = 0.05


@dataclass(frozen=True)
class PlantChange:
    """Something that was changed by somebody.

    Attributes:
        kind: One of `KINDS`, or a name of the plant's own.
        subject: Service, machine, topic or model that was changed; `*` for the whole plant.
        happened_at: When.
        summary: One sentence for a person.
        reference: Table and key where it stands.
    """

    kind: str
    subject: str
    happened_at: datetime
    summary: str
    reference: str


@dataclass(frozen=True)
class _Kind:
    """How a kind of change acts: families that it can trouble, and how long it stays a suspect."""

    families: frozenset[Family]
    half_life: timedelta
    weight: float


_ANY = frozenset(Family)
KINDS: dict[str, _Kind] = {
    # Releases show within minutes; wear after maintenance within days.
    "release": _Kind(_ANY - {Family.MACHINE}, timedelta(minutes=30), 1.0),
    "configuration": _Kind(_ANY, timedelta(minutes=30), 0.9),
    "contract": _Kind(frozenset({Family.PLATFORM, Family.MODEL}), timedelta(hours=2), 1.0),
    "promotion": _Kind(frozenset({Family.MODEL, Family.SERVICE}), timedelta(hours=12), 0.9),
    "index_build": _Kind(frozenset({Family.SERVICE, Family.PLATFORM}), timedelta(hours=1), 0.5),
    "maintenance": _Kind(frozenset({Family.MACHINE, Family.MODEL}), timedelta(hours=36), 0.9),
    "component_replacement": _Kind(frozenset({Family.MACHINE, Family.MODEL}), timedelta(hours=36), 1.0),
    "firmware": _Kind(frozenset({Family.MACHINE, Family.MODEL, Family.PLATFORM}), timedelta(hours=24), 1.0),
    "failure": _Kind(frozenset({Family.MACHINE, Family.MODEL}), timedelta(hours=24), 0.8),
}
_UNKNOWN = _Kind(_ANY, timedelta(hours=1), 0.6)


@dataclass(frozen=True)
class Cause:
    """A change that may be behind an incident.

    Attributes:
        change: What was changed.
        likelihood: 0 to 1, for the order; not a probability.
        reasons: Why it stands where it stands.
    """

    change: PlantChange
    likelihood: float
    reasons: tuple[str, ...]


def rank_causes(incident: Incident, changes: Iterable[PlantChange], topology: Topology) -> tuple[Cause, ...]:
    """The changes before an incident that can explain it, likeliest first.

    Args:
        incident: What has to be explained.
        changes: What was changed; later ones and those too long ago are left out.
        topology: Calls between subjects.

    Returns:
        At most five, each with its reasons. Empty when nothing fits: then nothing is guessed.
    """
    causes = [cause for change in changes if (cause := _judge(incident, change, topology)) is not None]
    causes.sort(key=lambda cause: (-cause.likelihood, cause.change.happened_at, cause.change.subject))
    return tuple(causes[:KEPT_CAUSES])


def _judge(incident: Incident, change: PlantChange, topology: Topology) -> Cause | None:
    age = incident.started_at - change.happened_at
    kind = KINDS.get(change.kind, _UNKNOWN)
    # A finding's window may begin a little before the change that caused it.
    if not timedelta(minutes=-1) <= age <= LOOK_BACK or incident.family not in kind.families:
        return None
    nearness, where = _nearness(incident, change.subject, topology)
    recency = 0.5 ** (max(age, timedelta(0)) / kind.half_life)
    likelihood = kind.weight * nearness * recency
    if likelihood < LEAST_LIKELIHOOD or math.isnan(likelihood):
        return None
    reasons = (where, f"{_ago(age)} before the first evidence")
    return Cause(change, round(likelihood, 3), reasons)


def _nearness(incident: Incident, subject: str, topology: Topology) -> tuple[float, str]:
    if subject == incident.subject:
        return 1.0, f"it changed {subject}, the first suspect"
    if subject in incident.affected:
        return 0.8, f"it changed {subject}, which is affected"
    for known in incident.affected:
        if topology.has_call(known, subject):
            return 0.6, f"{known} calls {subject}, which it changed"
        if topology.has_call(subject, known):
            return 0.4, f"it changed {subject}, which calls {known}"
    if subject == "*":
        return 0.4, "it changed the whole plant"
    return 0.0, ""


def _ago(age: timedelta) -> str:
    minutes = max(age, timedelta(0)) / timedelta(minutes=1)
    if minutes < 90:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
