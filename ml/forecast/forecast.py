"""One series' forecast: values with intervals, limits that they cross, and a recommendation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from ml.forecast.candidates import Candidate
from ml.forecast.limits import Violation, limits_for, recommendation, violations
from ml.forecast.selection import Selection, select
from ml.forecast.series import Series, Values


@dataclass(frozen=True)
class Forecast:
    """A forecast of one series.

    Attributes:
        subject: Machine or plant.
        metric: Name of the metric.
        as_of: Last known instant.
        instants: Instants ahead.
        values: Forecast per instant.
        lower: Lower end of the interval.
        upper: Upper end of the interval.
        method: Candidate that won the backtest.
        selection: The backtest behind it.
        violations: Values beyond a limit.
        recommendation: What to do.
    """

    subject: str
    metric: str
    as_of: datetime
    instants: tuple[datetime, ...]
    values: Values
    lower: Values
    upper: Values
    method: str
    selection: Selection
    violations: tuple[Violation, ...]
    recommendation: str

    def to_json(self) -> dict[str, Any]:
        """The answer's fields: `forecasted_values`, `threshold_violations`, `recommendation`."""
        rows = zip(self.instants, self.values, self.lower, self.upper, strict=True)
        return {
            "forecasted_values": [
                {
                    "timestamp": instant.isoformat(),
                    "value": round(float(value), 4),
                    "confidence_interval": [round(float(low), 4), round(float(high), 4)],
                }
                for instant, value, low, high in rows
            ],
            "threshold_violations": [
                {
                    "timestamp": each.at.isoformat(),
                    "predicted_value": round(each.predicted_value, 4),
                    "threshold": round(each.threshold, 4),
                    "severity": each.severity,
                }
                for each in self.violations
            ],
            "recommendation": self.recommendation,
        }


def forecast(
    series: Series,
    horizon: int,
    subject: str,
    metric: str,
    equipment_model: str = "",
    more: Sequence[Candidate] = (),
    only: str | None = None,
) -> Forecast:
    """Choose a candidate by backtest and forecast from the end of the series.

    Args:
        series: All known values.
        horizon: Steps ahead.
        subject: Machine or plant, for the words.
        metric: Name of the metric.
        equipment_model: Whose limits apply.
        more: Candidates beside the cheap ones.
        only: Candidate that was chosen before.

    Raises:
        SeriesTooShortError: Too few values for a backtest.
    """
    chosen = select(series, horizon, more, only=only)
    values = chosen.fitted.forecast(series.values, np.array([len(series)]), horizon)[0]
    lower, upper = values - chosen.half_width, values + chosen.half_width
    if series.values.min() >= 0:  # a power or a share does not go below nothing
        values, lower, upper = (np.maximum(part, 0.0) for part in (values, lower, upper))
    instants = tuple(series.end + (step + 1) * series.step for step in range(horizon))
    limits = limits_for(series, metric, equipment_model)
    found = violations(limits, instants, values)
    return Forecast(
        subject=subject,
        metric=metric,
        as_of=series.end,
        instants=instants,
        values=values,
        lower=lower,
        upper=upper,
        method=chosen.candidate.name,
        selection=chosen,
        violations=tuple(found),
        recommendation=recommendation(subject, metric, found, upper, limits),
    )
