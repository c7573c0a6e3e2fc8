"""Who calls whom: the graph along which one fault shows in several services.

Add a source of edges here (traces, a deployment's own list). Avoid deciding what belongs together:
`grouping` asks this graph.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

PLATFORM_CALLS: tuple[tuple[str, str], ...] = (
    ("service:landing", "service:kafka"),
    ("service:landing", "service:postgres"),
    ("service:log-windows", "service:kafka"),
    ("service:log-windows", "service:postgres"),
    ("service:incidents", "service:postgres"),
    ("service:api", "service:postgres"),
    ("service:mlflow", "service:postgres"),
    ("service:dagster-daemon*", "service:postgres"),
    ("sensor:*", "service:dagster-daemon/sensor"),
    ("schedule:*", "service:dagster-daemon/scheduler"),
    ("topic:*", "service:landing"),
)
"""The platform's own dependencies, caller first; a star stands for every subject of that kind."""


@dataclass(frozen=True)
class Topology:
    """Directed calls between subjects.

    Attributes:
        calls: Caller to the subjects that it calls.
    """

    calls: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def has_call(self, caller: str, callee: str) -> bool:
        """Whether one subject calls another, by traces or by the platform's own list."""
        return callee in self.calls.get(caller, frozenset()) or any(
            _covers(left, caller) and _covers(right, callee) for left, right in PLATFORM_CALLS
        )

    def are_neighbours(self, one: str, other: str) -> bool:
        """Whether a fault of one can show in the other within one call."""
        return self.has_call(one, other) or self.has_call(other, one)

    def knows(self, subject: str) -> bool:
        """Whether any call of this subject is known."""
        return subject in self.calls or any(subject in callees for callees in self.calls.values())

    def are_near(self, one: str, other: str) -> bool:
        """Whether two calls, in whatever direction, lead from one to the other."""
        return self.are_neighbours(one, other) or bool(self._around(one) & self._around(other))

    def _around(self, subject: str) -> frozenset[str]:
        callers = (caller for caller, callees in self.calls.items() if subject in callees)
        return self.calls.get(subject, frozenset[str]()).union(callers)

    def depth(self, subject: str, among: Iterable[str]) -> int:
        """How many of the other subjects reach this one by calls, less how many it reaches itself.

        The deepest service of a failing chain has the highest depth: errors travel from callee to caller.
        """
        others = [other for other in among if other != subject]
        return sum(self._reaches(other, subject) for other in others) - sum(
            self._reaches(subject, other) for other in others
        )

    def _reaches(self, start: str, goal: str) -> bool:
        if self.has_call(start, goal):
            return True
        # Two calls are enough: in the traces at hand three hops span the whole plant.
        return any(self.has_call(middle, goal) for middle in self.calls.get(start, frozenset()))


def topology_of(edges: Iterable[tuple[str, str]]) -> Topology:
    """The graph of (caller, callee) pairs; a pair in both directions is none, since it tells no depth."""
    pairs = {(caller, callee) for caller, callee in edges if caller != callee}
    calls: defaultdict[str, set[str]] = defaultdict(set)
    for caller, callee in pairs:
        calls[caller].add(callee)
    return Topology({caller: frozenset(callees) for caller, callees in calls.items()})


def edges_of_traces(
    lines: Iterable[tuple[str, str, datetime]], least_traces: int = 3
) -> tuple[tuple[str, str], ...]:
    """Calls between services, from log lines of traces.

    The line just before a service's first one in a trace is its caller's. Clocks of hosts differ by
    milliseconds, so an edge counts only in its more frequent direction and from several traces.

    Args:
        lines: (trace id, service, instant) of log lines, in any order.
        least_traces: Traces that must show an edge.

    Returns:
        (caller, callee) pairs, sorted.
    """
    traces: defaultdict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for trace_id, service, at in lines:
        traces[trace_id].append((at, service))
    votes: Counter[tuple[str, str]] = Counter()
    for spoken in traces.values():
        spoken.sort(key=lambda line: line[0])  # stable: lines of one instant keep the order of the log
        met = {spoken[0][1]}
        for (_, before), (_, service) in pairwise(spoken):
            if service not in met:
                met.add(service)
                votes[before, service] += 1
    return tuple(
        sorted(
            edge
            for edge, count in votes.items()
            if count >= least_traces and count > votes.get((edge[1], edge[0]), 0)
        )
    )


def _covers(pattern: str, subject: str) -> bool:
    return subject.startswith(pattern[:-1]) if pattern.endswith("*") else subject == pattern
