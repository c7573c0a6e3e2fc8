"""How bad an incident is, from what it touches, and which of its subjects is at fault.

Add a rule when an on-call engineer would rank two incidents otherwise than this does. Avoid time rules.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestration.ingest.incidents.model import Affected, Severity
from orchestration.ingest.incidents.topology import Topology
from orchestration.ingest.signals import SignalKind

WIDE_SUBJECTS = 4  # more than three at once: the network, a disk or the database, says the runbook
SURE_SCORE = 12.0  # 1,000 services see 5e8 windows a year: chance does not reach it
_STOPS_WORK = frozenset({SignalKind.LOG_SILENCE, SignalKind.LIVENESS, SignalKind.LANDING})
_WATCHED = frozenset({SignalKind.DRIFT, SignalKind.LOG_TEMPLATES})


@dataclass(frozen=True)
class Suspect:
    """A subject that may be at fault, with the reasons in words.

    Attributes:
        subject: Its name.
        score: Sum of the reasons' weights; only its order means something.
        reasons: What speaks for it.
    """

    subject: str
    score: float
    reasons: tuple[str, ...]


def severity_of(affected: Mapping[str, Affected]) -> Severity:
    """Severity from impact: how many subjects, whether work stops, how sure the detectors are.

    Args:
        affected: Subjects with their signals; not empty.
    """
    kinds = frozenset[SignalKind]().union(*(item.kinds for item in affected.values()))
    peak = max(item.peak_score for item in affected.values())
    if kinds & _STOPS_WORK or SignalKind.LOG_SECURITY in kinds or len(affected) >= WIDE_SUBJECTS:
        return Severity.CRITICAL
    corroborated = len(kinds - {SignalKind.LOG_RULE}) >= 3
    if peak >= SURE_SCORE and corroborated:
        return Severity.CRITICAL
    return Severity.INFO if kinds <= _WATCHED and peak < SURE_SCORE else Severity.WARNING


def rank_suspects(affected: Mapping[str, Affected], topology: Topology) -> tuple[Suspect, ...]:
    """The subjects, most likely at fault first.

    Three things speak for a subject: strong findings, an early start, and that the other subjects call it
    (errors travel from the callee to its callers). The loudest is often a victim, so strength counts by
    its logarithm.

    Args:
        affected: Subjects with their signals; not empty.
        topology: Calls between them.
    """
    first = min(item.first_at for item in affected.values())
    suspects = [_suspect(name, item, first, affected, topology) for name, item in affected.items()]
    return tuple(sorted(suspects, key=lambda item: (-item.score, item.subject)))


def _suspect(
    name: str, item: Affected, first: object, affected: Iterable[str], topology: Topology
) -> Suspect:
    others = [other for other in affected if other != name]
    strength = math.log1p(min(item.peak_score, 300.0))
    reasons = [f"finding of strength {item.peak_score:.1f}: {item.summary}"]
    score = strength + 0.2 * (len(item.kinds) - 1)
    if others and item.first_at == first:
        score += 0.5
        reasons.append("among the first to show")
    depth = topology.depth(name, others)
    if depth:
        score += 0.6 * max(min(depth, 3), -3)
        reasons.append(
            f"called by {depth} more of the affected than it calls"
            if depth > 0
            else f"calls {-depth} more of the affected than call it"
        )
    return Suspect(name, round(score, 4), tuple(reasons))
