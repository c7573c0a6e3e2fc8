"""From contributions to sentences: why this machine, now.

Contributions of features with one subject (a metric, the errors, a component) are added up, because
"mean over 3 h" and "mean over 24 h" of one sensor are one reason to a person.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ml.features.specs import FeatureSet, FeatureSpec

# Log odds; below it a subject changes a probability of 50 % by less than 3 points.
LEAST_CONTRIBUTION = 0.1
MOST_REASONS = 3
# Standard errors of a 24 h mean; readings within a day are alike, so 3 would be usual.
SURPRISING = 6.0
NOTHING_UNUSUAL = "readings near their 30-day normal, nothing speaks for a failure"


@dataclass(frozen=True)
class Reason:
    """One reason of one prediction.

    Attributes:
        sentence: In words, with the measured value.
        focus: What a technician would look at.
        contribution: Added log odds.
    """

    sentence: str
    focus: str
    contribution: float


def explain(features: FeatureSet, values: np.ndarray, contributions: np.ndarray) -> list[Reason]:
    """The strongest reasons for a failure of one machine-hour, strongest first.

    Args:
        features: Columns.
        values: Shape (features,).
        contributions: Shape (features,), log odds.
    """
    row = dict(zip(features.names, map(float, values), strict=True))
    totals: defaultdict[tuple[str, str], float] = defaultdict(float)
    for spec, contribution in zip(features.specs, contributions, strict=True):
        totals[_subject(spec, features, row)] += float(contribution)
    strongest = sorted(totals.items(), key=lambda item: -item[1])[:MOST_REASONS]
    reasons: list[Reason] = []
    for (source, subject), contribution in strongest:
        if contribution < LEAST_CONTRIBUTION:
            break
        sentence, focus = _SENTENCES[source](subject, row)
        reasons.append(Reason(sentence, focus, contribution))
    return reasons


def _subject(spec: FeatureSpec, features: FeatureSet, row: Mapping[str, float]) -> tuple[str, str]:
    if spec.name.startswith("largest_"):
        of_metric = spec.name.removeprefix("largest_")
        strength = {metric.name: abs(row[f"{metric.name}_{of_metric}"]) for metric in features.metrics}
        known = {name: value for name, value in strength.items() if np.isfinite(value)}
        leading = max(known, key=lambda name: known[name]) if known else features.metrics[0].name
        return ("metric", leading)
    if spec.source in ("equipment", "error"):
        return (spec.source, "")
    return (spec.source, spec.subject)


def _of_metric(metric: str, row: Mapping[str, float]) -> tuple[str, str]:
    change, trend = row[f"{metric}_change_30d"], row[f"{metric}_trend_24h"]
    focus = f"the cause of the {metric} reading"
    residual = row.get(f"{metric}_residual_24h", float("nan"))
    if abs(residual) >= SURPRISING and not (abs(change) >= 0.02 and change * residual > 0):
        return f"{metric} {'higher' if residual > 0 else 'lower'} than the other readings explain", focus
    if np.isfinite(change) and abs(change) >= 0.01:
        where = "above" if change > 0 else "below"
        return f"{metric} {abs(change):.0%} {where} its 30-day normal", focus
    if np.isfinite(trend) and abs(trend) > 0:
        return f"{metric} trending {'upward' if trend > 0 else 'downward'} over 24 h", focus
    return f"{metric} at {row[f'{metric}_mean_24h']:.4g} over 24 h", focus


def _of_errors(_subject: str, row: Mapping[str, float]) -> tuple[str, str]:
    for hours, words in ((24, "24 h"), (48, "48 h"), (168, "7 days")):
        suffix, total = f"_{hours}h", f"errors_{hours}h"
        count = row[total]
        if count < 1:
            continue
        codes = {
            name.removeprefix("errors_").removesuffix(suffix): value
            for name, value in row.items()
            if name.startswith("errors_")
            and name.endswith(suffix)
            and name != f"errors{suffix}"
            and value >= 1
        }
        named = f" ({', '.join(sorted(codes))})" if codes else ""
        noun = "error" if count == 1 else "errors"
        most = max(sorted(codes), key=lambda code: codes[code]) if codes else ""
        focus = f"the cause of error {most}" if most else "the error log"
        return f"{count:.0f} {noun}{named} in the last {words}", focus
    since = row["hours_since_error"]
    known = f"last error {_duration(since)} ago" if np.isfinite(since) else "no error so far"
    return known, "the machine"


def _of_work(component: str, row: Mapping[str, float]) -> tuple[str, str]:
    name = f"hours_since_{component}_replaced" if component else "hours_since_maintenance"
    elapsed = row[name]
    if not component:
        known = f"{_duration(elapsed)} since last maintenance" if np.isfinite(elapsed) else "never maintained"
        return known, "overdue maintenance"
    if not np.isfinite(elapsed):
        return f"{component} never replaced so far", component
    return f"{_duration(elapsed)} since {component} was replaced", component


def _of_failures(_subject: str, row: Mapping[str, float]) -> tuple[str, str]:
    count, elapsed = row["failures_before"], row["hours_since_failure"]
    if not np.isfinite(elapsed):
        return "no failure so far", "the machine"
    return (
        f"{count:.0f} {'failure' if count == 1 else 'failures'} before, the last {_duration(elapsed)} ago",
        "what failed last",
    )


def _of_equipment(_subject: str, row: Mapping[str, float]) -> tuple[str, str]:
    model = next((name for name, value in row.items() if name.startswith("is_model_") and value == 1), "")
    age = row["age_years"]
    kind = model.removeprefix("is_model_") or "machine"
    return (f"{kind}, {age:.0f} years old" if np.isfinite(age) else f"model {kind}"), "the machine"


def _of_calendar(_subject: str, _row: Mapping[str, float]) -> tuple[str, str]:
    return "time of the year", "the machine"


def _duration(hours: float) -> str:
    """Hours in the unit that a person would say.

    >>> _duration(1080.0)
    '45 days'
    """
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"


_SENTENCES: dict[str, Callable[[str, Mapping[str, float]], tuple[str, str]]] = {
    "metric": _of_metric,
    "error": _of_errors,
    "maintenance": _of_work,
    "failure": _of_failures,
    "equipment": _of_equipment,
    "calendar": _of_calendar,
}
