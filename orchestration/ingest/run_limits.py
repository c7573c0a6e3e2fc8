"""How much one bounded landing takes at most; what is beyond waits for the next one.

Add a limit of a run here. Avoid limits of tenants: `quotas` has those.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.ingest.batch import Batch
from orchestration.ingest.offsets import PartitionId, Plan, Range


@dataclass(frozen=True)
class RunLimits:
    """Limits of one run; None is no limit.

    Attributes:
        messages: Offsets over all partitions, exactly.
        size: Bytes of rows in memory's layout; the run ends after the batch that passes it, and what was
            read ahead by then (two batches per connection) is landed too.
    """

    messages: int | None = None
    size: int | None = None

    def capped(self, planned: Plan) -> Plan:
        """The plan within the limit of messages, shared out evenly: no partition waits for another.

        >>> import uuid
        >>> a, b = (PartitionId("t", uuid.UUID(int=0), number) for number in (0, 1))
        >>> plan = Plan({a: Range(0, 10), b: Range(5, 8)}, {})
        >>> [(span.lo, span.hi) for span in RunLimits(messages=8).capped(plan).pending.values()]
        [(0, 5), (5, 8)]
        """
        if self.messages is None or planned.lag <= self.messages:
            return planned
        shares = _shares({item: len(span) for item, span in planned.pending.items()}, self.messages)
        pending = {item: Range(span.lo, span.lo + shares[item]) for item, span in planned.pending.items()}
        return Plan(pending, planned.lost)


def _shares(waiting: Mapping[PartitionId, int], total: int) -> dict[PartitionId, int]:
    """Even shares; what a partition does not need goes to the others."""
    shares: dict[PartitionId, int] = {}
    for number, (item, count) in enumerate(sorted(waiting.items(), key=lambda pair: (pair[1], pair[0]))):
        shares[item] = min(count, total // (len(waiting) - number))
        total -= shares[item]
    return shares


class SizeGate:
    """Ends a run when it has landed enough bytes."""

    def __init__(self, limits: RunLimits, stop: threading.Event) -> None:
        """Set `stop` when the limit is passed."""
        self._limit, self._stop, self._landed = limits.size, stop, 0

    def add(self, batches: Sequence[Batch]) -> None:
        """Take note of committed batches."""
        self._landed += sum(batch.rows.nbytes for batch in batches)
        if self._limit is not None and self._landed >= self._limit:
            self._stop.set()
