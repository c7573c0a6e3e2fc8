"""The one table from a probability and its reasons to words: risk level and recommended action."""

from dataclasses import dataclass
from enum import StrEnum


class RiskLevel(StrEnum):
    """How urgent a machine is."""

    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"
    CRITICAL = "Critical"


@dataclass(frozen=True)
class RiskBand:
    """From `least_probability` on, a machine has this level and this advice."""

    least_probability: float
    level: RiskLevel
    action: str


# 0.8 and 0.5 are the words of the health mart; at 0.2 a look costs less than one missed failure in five.
BANDS = (
    RiskBand(0.8, RiskLevel.CRITICAL, "Stop at the next safe point and check {focus} before restarting."),
    RiskBand(0.5, RiskLevel.HIGH, "Check {focus} within {horizon} and have the spare part ready."),
    RiskBand(0.2, RiskLevel.MEDIUM, "Plan a look at {focus} on the next round; watch the readings."),
    RiskBand(0.0, RiskLevel.LOW, "No action; keep the maintenance plan."),
)


def risk_band(probability: float) -> RiskBand:
    """The band of a probability.

    >>> risk_band(0.73).level.value
    'High'
    """
    return next(band for band in BANDS if probability >= band.least_probability)


def recommended_action(probability: float, focus: str, horizon_hours: int) -> str:
    """Advice for one machine.

    Args:
        probability: Calibrated.
        focus: What the leading reason points at, for example `spindle_bearing`.
        horizon_hours: Horizon of the prediction.
    """
    horizon = f"{horizon_hours} h" if horizon_hours <= 48 else f"{horizon_hours // 24} days"
    return risk_band(probability).action.format(focus=focus, horizon=horizon)
