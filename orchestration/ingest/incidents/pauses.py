"""How long findings may pause and still be one incident, per kind of detector.

Change a time here with the eval that shows its use (`opsgraph eval incidents`). Avoid deciding: `grouping`
does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from orchestration.ingest.signals import SignalKind

LOG_KINDS = frozenset(
    {
        SignalKind.LOG_RULE,
        SignalKind.LOG_ERRORS,
        SignalKind.LOG_LATENCY,
        SignalKind.LOG_STATEMENTS,
        SignalKind.LOG_TEMPLATES,
        SignalKind.LOG_SILENCE,
        SignalKind.RESOURCE,
    }
)
"""Detectors of logs and of the metrics beside them; attacks stand apart."""


@dataclass(frozen=True)
class Rules:
    """Times of grouping; the defaults are the ones that `opsgraph eval incidents` measures.

    Attributes:
        same_subject: Longest pause between findings about one subject.
        related: Longest pause between findings about subjects that call each other; cascades are quick.
        reopen: A resolved incident takes findings of the same kind and subject until then.
        coincidence: Subjects whose findings are this near in time need no known call between them.
        chance: Expected unrelated incidents within `coincidence` above which time alone says nothing.
        quiet: An incident whose evidence ended this long ago is resolved.
        cadence: Detectors that speak seldom are given their own, longer pause.
    """

    same_subject: timedelta = timedelta(minutes=4)
    related: timedelta = timedelta(minutes=2)
    reopen: timedelta = timedelta(minutes=6)
    coincidence: timedelta = timedelta(minutes=1)
    chance: float = 0.1
    quiet: timedelta = timedelta(minutes=4)
    cadence: Mapping[SignalKind, timedelta] = field(
        default_factory=lambda: {
            SignalKind.TELEMETRY: timedelta(hours=3),  # hourly scores: two of them may be missing
            SignalKind.DRIFT: timedelta(hours=36),  # daily verdicts
            SignalKind.LANDING: timedelta(minutes=15),
            SignalKind.DEAD_LETTERS: timedelta(minutes=15),
        }
    )

    def pause(self, kinds: Iterable[SignalKind], allowed: timedelta) -> timedelta:
        """The pause that these detectors are given: the longest of their cadences, at least `allowed`."""
        return max([allowed, *(self.cadence.get(kind, allowed) for kind in kinds)])


DEFAULT_RULES = Rules()
