"""What the bulk jobs do to a topic's table, derived from its contract; both engines read it.

Add a number here when both engines need it. Avoid expressions of an engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.ingest.contracts import TopicContract

WINDOWS_H = (24, 168)
"""Rolling windows in hours: a day and a week."""

OUTLIER_DEVIATIONS = 8.0
"""Robust deviations (1.4826 × median absolute deviation) from a machine's median beyond which a value is
dropped. Eight keeps the slow excursions that precede failures, and takes spikes of a broken sensor."""

DEVIATION_OF_MAD = 1.4826
"""A normal variable's standard deviation over its median absolute deviation."""

OUTPUTS = ("cleansed", "features", "daily", "weekly")


class BulkError(RuntimeError):
    """A bulk job could not run; the message says why, what was kept and what to do."""


@dataclass(frozen=True)
class BulkPlan:
    """One topic's bulk jobs.

    Attributes:
        table: Read from `bronze.<table>`, written to `silver.<table>_<output>`.
        keys: Columns that name a machine.
        event_time: Column of the event's instant.
        metrics: Measured columns.
        windows_h: Rolling windows.
        outlier_deviations: Robust deviations beyond which a value is dropped.
    """

    table: str
    keys: tuple[str, ...]
    event_time: str
    metrics: tuple[str, ...]
    windows_h: tuple[int, ...] = WINDOWS_H
    outlier_deviations: float = OUTLIER_DEVIATIONS

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "BulkPlan":
        """Undo `dataclasses.asdict` and JSON, which knows no tuples."""
        lists: dict[str, Any] = {name: tuple(content[name]) for name in ("keys", "metrics", "windows_h")}
        return cls(**{**content, **lists})


def plan_of(contract: TopicContract) -> BulkPlan:
    """The bulk jobs of a topic that measures something.

    Raises:
        BulkError: The contract names no metric or no primary key.
    """
    keys = tuple(name for name in contract.primary_key if name != contract.event_time_field)
    metrics = tuple(field.name for field in contract.metrics)
    if not keys or not metrics:
        raise BulkError(
            f"{contract.topic} has no {'metric' if keys else 'primary key'} in its contract, so there is "
            "nothing to cleanse or to average; take a topic that measures machines"
        )
    return BulkPlan(contract.table, keys, contract.event_time_field, metrics)
