"""Limits that a forecast may cross, and what to do then.

A plant's own limits stand in `limits.json` (its manuals' figures, with their source); a metric without one
is held to the range that the series itself has shown. Add a limit there. Avoid advice about repairs: the
runbooks give it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ml.forecast.series import Series, Values

Severity = Literal["Warning", "Critical"]
# A value that one hour in a thousand reached is not alarming in itself; a quarter of the range beyond it is.
_USUAL_SHARE = 0.999
_BEYOND = (0.25, 0.75)


@dataclass(frozen=True)
class Limits:
    """Limits of one series; None where a side has none.

    Attributes:
        upper_warning: Values above it warn.
        upper_critical: Values above it are critical.
        lower_warning: Values below it warn.
        lower_critical: Values below it are critical.
        source: Where they come from.
    """

    upper_warning: float | None
    upper_critical: float | None
    lower_warning: float | None
    lower_critical: float | None
    source: str

    def crossed(self, value: float) -> tuple[float, Severity] | None:
        """The limit that a value crosses, the worst one first."""
        checks: tuple[tuple[float | None, Severity, int], ...] = (
            (self.upper_critical, "Critical", 1),
            (self.lower_critical, "Critical", -1),
            (self.upper_warning, "Warning", 1),
            (self.lower_warning, "Warning", -1),
        )
        for limit, severity, side in checks:
            if limit is not None and side * (value - limit) > 0:
                return limit, severity
        return None


@dataclass(frozen=True)
class Violation:
    """A forecast value beyond a limit."""

    at: datetime
    predicted_value: float
    threshold: float
    severity: Severity


def limits_for(series: Series, metric: str, equipment_model: str = "") -> Limits:
    """The plant's limits for a metric of a machine model, else the range that the series has shown."""
    for row in _stated():
        if row["metric"] == metric and row["equipment_model"] == equipment_model:
            return Limits(
                row.get("upper_warning"),
                row.get("upper_critical"),
                row.get("lower_warning"),
                row.get("lower_critical"),
                row["source"],
            )
    seen = series.values[series.is_observed]
    low, middle, high = np.quantile(seen, [1.0 - _USUAL_SHARE, 0.5, _USUAL_SHARE])
    above, below = high - middle, middle - low
    return Limits(
        upper_warning=float(high + _BEYOND[0] * above),
        upper_critical=float(high + _BEYOND[1] * above),
        lower_warning=float(low - _BEYOND[0] * below),
        lower_critical=float(low - _BEYOND[1] * below),
        source="the range that this series has shown",
    )


def violations(limits: Limits, instants: Sequence[datetime], values: Values) -> list[Violation]:
    """Every forecast value beyond a limit, in order."""
    return [
        Violation(instant, value, *crossed)
        for instant, value in zip(instants, values.tolist(), strict=True)
        if (crossed := limits.crossed(value)) is not None
    ]


def recommendation(
    subject: str, metric: str, found: Sequence[Violation], upper: Values, limits: Limits
) -> str:
    """What to do, in one or two sentences.

    Args:
        subject: Machine or plant.
        metric: Name.
        found: Crossings of the forecast itself.
        upper: Upper end of the interval per step.
        limits: What the forecast was held to.
    """
    if found:
        worst = next((each for each in found if each.severity == "Critical"), found[0])
        side = "above" if worst.predicted_value > worst.threshold else "below"
        hurry = "before" if worst.severity == "Critical" else "by"
        return (
            f"{metric} of {subject} is expected {side} {worst.threshold:.4g} from "
            f"{found[0].at:%Y-%m-%d %H:%M} UTC on ({worst.severity.lower()}; {limits.source}). "
            f"Inspect the machine {hurry} then; ask for its diagnosis with /v1/diagnose."
        )
    limit = limits.upper_warning
    if limit is not None and (upper > limit).any():
        return (
            f"{metric} of {subject} is expected within its limits, but the upper end of the interval passes "
            f"{limit:.4g}. Look at it again with the next readings."
        )
    return f"{metric} of {subject} is expected within its limits ({limits.source}); nothing to do."


@cache
def _stated() -> tuple[dict[str, Any], ...]:
    return tuple(json.loads((Path(__file__).parent / "limits.json").read_text()))
