"""Anomalous hours as events: start, end, peak, and the sensors behind them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ml.anomaly.detector import Values

# Hours below the threshold that do not end an event: one disturbance often dips for a shift.
LONGEST_GAP = 6
LEAST_HOURS = 2
MOST_SENSORS = 3
LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Contribution:
    """A sensor's share in an event, 0 to 1."""

    metric: str
    share: float


@dataclass(frozen=True)
class AnomalyEvent:
    """A stretch of anomalous hours of one machine.

    Attributes:
        equipment_id: Machine.
        starts_at: First anomalous hour.
        ends_at: Last anomalous hour.
        peak_at: Hour of the highest score.
        peak_score: That score.
        hours: Anomalous hours in it.
        contributing_sensors: The largest shares, the largest first.
    """

    equipment_id: str
    starts_at: datetime
    ends_at: datetime
    peak_at: datetime
    peak_score: float
    hours: int
    contributing_sensors: tuple[Contribution, ...]

    @property
    def summary(self) -> str:
        """The event in words."""
        named = ", ".join(f"{each.metric} ({each.share:.0%})" for each in self.contributing_sensors)
        return (
            f"{self.equipment_id} was off its usual behaviour for {self.hours} h from "
            f"{self.starts_at:%Y-%m-%d %H:%M} UTC, most at {self.peak_at:%Y-%m-%d %H:%M} "
            f"(score {self.peak_score:.2f}): {named or 'no single sensor'}"
        )


def group_events(
    equipment_id: str,
    hours: Sequence[datetime],
    score: Values,
    is_anomalous: NDArray[np.bool_],
    shares: Values,
    metrics: Sequence[str],
) -> list[AnomalyEvent]:
    """Join anomalous hours that are at most six hours apart; a single hour is no event.

    Args:
        equipment_id: Machine.
        hours: End of each hour, ascending.
        score: Shape (hours,), 0 to 1.
        is_anomalous: Shape (hours,).
        shares: Share of each metric, shape (hours, metrics).
        metrics: Names.
    """
    found: list[AnomalyEvent] = []
    rows = np.flatnonzero(is_anomalous)
    starts = [0]
    for place in range(1, len(rows)):
        gap = hours[int(rows[place])] - hours[int(rows[place - 1])]
        if gap.total_seconds() > (LONGEST_GAP + 1) * 3600:
            starts.append(place)
    for group in np.split(rows, starts[1:]) if len(rows) else []:
        if len(group) < LEAST_HOURS:
            continue
        peak = int(group[np.argmax(score[group])])
        weight = shares[group].mean(axis=0)
        order = np.argsort(-weight)[:MOST_SENSORS]
        found.append(
            AnomalyEvent(
                equipment_id=equipment_id,
                starts_at=hours[int(group[0])],
                ends_at=hours[int(group[-1])],
                peak_at=hours[peak],
                peak_score=float(score[peak]),
                hours=len(group),
                contributing_sensors=tuple(
                    Contribution(metrics[int(index)], round(float(weight[index]), 3))
                    for index in order.tolist()
                    if weight[index] >= LEAST_SHARE
                ),
            )
        )
    return found
