"""What alerts cost: the operating point from prices and crew hours, and the realised cost of a backtest."""

from dataclasses import dataclass

from ml.evaluation.events import EventScore

_HOURS_PER_WEEK = 168.0
_HOURS_PER_MONTH = 730.5


@dataclass(frozen=True)
class OperatingCosts:
    """Prices in any one unit; only their ratio moves the operating point.

    Attributes:
        missed_failure: A failure without an alert in its horizon.
        visit: An alert event: somebody goes and looks, rightly or not.
        crew_hours_per_week: Hours that the crew has for visits, over all machines; None is without limit.
        hours_per_visit: Crew hours of one visit.
    """

    missed_failure: float = 10.0
    visit: float = 1.0
    crew_hours_per_week: float | None = None
    hours_per_visit: float = 4.0

    def of(self, events: EventScore) -> float:
        """Realised cost of an alert rule over a backtest.

        >>> OperatingCosts(10.0, 1.0).of(EventScore(5, 4, 7, 4, 1.0))
        17.0
        """
        return self.missed_failure * (events.failures - events.recalled) + self.visit * events.alert_events

    def is_affordable(self, events: EventScore, machines: int) -> bool:
        """Whether the crew can make the visits, averaged over the weeks of the backtest."""
        if self.crew_hours_per_week is None:
            return True
        weeks = max(events.machine_months * _HOURS_PER_MONTH / max(machines, 1) / _HOURS_PER_WEEK, 1e-9)
        return events.alert_events * self.hours_per_visit / weeks <= self.crew_hours_per_week
