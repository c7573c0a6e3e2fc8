"""The horizons that ship: a setting, not code; a third one is a row here."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Horizon:
    """How far ahead a failure model looks.

    Attributes:
        hours: Horizon.
        model_name: Registered model.
        must_beat_rule_on_events: Whether its alerts call somebody out. The 24 h alerts do, so they must be
            better than the error rule's alerts; the 7-day probability ranks machines for planning and must
            rank better than the rule.
    """

    hours: int
    model_name: str
    must_beat_rule_on_events: bool

    @property
    def length(self) -> timedelta:
        """The horizon as a duration."""
        return timedelta(hours=self.hours)


NEXT_DAY = Horizon(24, "failure-24h", must_beat_rule_on_events=True)
NEXT_WEEK = Horizon(168, "failure-7d", must_beat_rule_on_events=False)
HORIZONS = (NEXT_DAY, NEXT_WEEK)
