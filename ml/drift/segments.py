"""Drift of each machine model's metrics over the last week: alone, together, by suite, and by its effect.

A segment is the machines of one model. Its features are ranked by what their move did to the predictions,
so that a large move nobody's score depends on stands below a small one that matters. Avoid verdicts here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from ml.drift.expectations import ExpectationSuite
from ml.drift.inline import DRIFT_Z
from ml.drift.multivariate import Reconstruction, reconstruction_drift
from ml.drift.tenant_readings import TenantReadings
from ml.drift.univariate import FeatureDrift, check_feature, hold_down_false_discoveries
from ml.validation.readings import Readings, nan_median

WINDOW_HOURS = 7 * 24
# Machine-days with predictions that a relation between levels and scores needs.
FEWEST_MACHINE_DAYS = 60
PRESENT_SHARE = 0.7
_LARGEST_LEVEL = 8.0
_RIDGE = 0.1
_CLIP = 1e-4


@dataclass(frozen=True)
class SegmentDrift:
    """One machine model's last week.

    Attributes:
        segment: Machine model.
        machines: How many.
        features: Each metric, the largest effect on the predictions first.
        together: Error of rebuilding all metrics from the reference's components.
        violations: What of the expectation suite does not hold, in words.
    """

    segment: str
    machines: int
    features: tuple[FeatureDrift, ...]
    together: Reconstruction
    violations: tuple[str, ...]


def check_segments(found: TenantReadings, scored: Mapping[str, pl.DataFrame]) -> list[SegmentDrift]:
    """Check every segment; false discoveries are held down over all features of the tenant.

    Args:
        found: The machines' readings.
        scored: Model name → predictions, for the effect; the first model with enough of them is asked.
    """
    groups: dict[str, dict[str, Readings]] = {}
    for equipment_id, readings in sorted(found.machines.items()):
        segment = found.models.get(equipment_id) or "unknown"
        groups.setdefault(segment, {})[equipment_id] = readings
    means = {segment: fleet_mean(list(machines.values())) for segment, machines in sorted(groups.items())}
    checked = hold_down_false_discoveries(
        [
            check_feature(segment, metric, mean.reference[:, column], mean.values[-WINDOW_HOURS:, column])
            for segment, mean in means.items()
            for column, metric in enumerate(mean.metrics)
        ]
    )
    return [
        SegmentDrift(
            segment=segment,
            machines=len(groups[segment]),
            features=tuple(
                _ranked([one for one in checked if one.segment == segment], found, groups[segment], scored)
            ),
            together=reconstruction_drift(mean.reference, mean.values[-WINDOW_HOURS:]),
            violations=expectation_suite(mean).violations(mean.values[-WINDOW_HOURS:]),
        )
        for segment, mean in means.items()
    ]


def fleet_mean(machines: Sequence[Readings]) -> Readings:
    """Mean of each metric over machines, in deviations of its own machine, profile removed."""
    names = tuple(sorted({name for one in machines for name in one.metrics}))
    columns: list[np.ndarray] = []
    for name in names:
        stacked = np.stack(
            [one.centred[:, one.metrics.index(name)] for one in machines if name in one.metrics]
        )
        counted = (~np.isnan(stacked)).sum(axis=0)
        total = np.nansum(np.clip(stacked, -_LARGEST_LEVEL, _LARGEST_LEVEL), axis=0)
        columns.append(np.where(counted > 0, total / np.maximum(counted, 1), np.nan))
    return Readings(
        metrics=names,
        values=np.stack(columns, axis=1),
        reference_steps=machines[0].reference_steps,
        steps_per_day=24,
        lowest=np.full(len(names), -np.inf),
        highest=np.full(len(names), np.inf),
    )


def expectation_suite(mean: Readings) -> ExpectationSuite:
    """What the last week is held to: the reference's mean within 5 deviations, and mostly present.

    The document is a Great Expectations suite; it is evaluated by the comparisons that serve predictions.
    """
    expectations: list[dict[str, Any]] = []
    for column, metric in enumerate(mean.metrics):
        known = mean.reference[:, column][~np.isnan(mean.reference[:, column])]
        if not len(known):
            continue
        level, reach = float(known.mean()), DRIFT_Z * max(float(known.std()), 1e-9)
        expectations += [
            {
                "type": "expect_column_mean_to_be_between",
                "kwargs": {"column": metric, "min_value": level - reach, "max_value": level + reach},
            },
            {
                "type": "expect_column_values_to_not_be_null",
                "kwargs": {"column": metric, "mostly": PRESENT_SHARE},
            },
        ]
    return ExpectationSuite.parse({"expectations": expectations}, mean.metrics)


def _ranked(
    features: Sequence[FeatureDrift],
    found: TenantReadings,
    machines: Mapping[str, Readings],
    scored: Mapping[str, pl.DataFrame],
) -> list[FeatureDrift]:
    effects: dict[str, float] = {}
    for _, scores in sorted(scored.items()):
        effects = score_effects(found, machines, scores)
        if effects:
            break
    told = [replace(one, score_effect=effects.get(one.feature)) for one in features]
    return sorted(told, key=lambda one: (-abs(one.score_effect or 0.0), -one.batch_z))


def score_effects(
    found: TenantReadings, machines: Mapping[str, Readings], scores: pl.DataFrame
) -> dict[str, float]:
    """How far each metric's move shifted the predictions, in log odds; empty with too few predictions.

    A ridge regression of what was predicted before the window on the machines' daily levels, each around the
    machine's own mean: the slope times the metric's shift. It asks the predictions themselves, so that
    whatever predicts is ranked alike.

    Args:
        found: The window that the machines are judged on.
        machines: Equipment id → readings of one segment.
        scores: `equipment_id`, `as_of`, `probability`.
    """
    metrics = tuple(sorted({name for one in machines.values() for name in one.metrics}))
    levels: list[np.ndarray] = []
    said: list[np.ndarray] = []
    shifts: list[np.ndarray] = []
    for equipment_id, readings in machines.items():
        daily = np.full((len(readings.daily), len(metrics)), np.nan)
        daily[:, [metrics.index(name) for name in readings.metrics]] = readings.daily
        split = readings.reference_days
        shifts.append(nan_median(daily[split:], axis=0) - nan_median(daily[:split], axis=0))
        begin = found.window_to - timedelta(days=len(daily))
        # Before the window: in it, what moves together can't be told apart.
        own = scores.filter((pl.col("equipment_id") == equipment_id) & (pl.col("as_of") < found.window_from))
        day = ((own["as_of"] - begin).dt.total_seconds() // 86_400).to_numpy().astype(np.int64)
        day = np.clip(day, 0, split - 1)
        kept = np.clip(own["probability"].to_numpy(), _CLIP, 1 - _CLIP)
        x = np.clip(np.nan_to_num(daily[day]), -_LARGEST_LEVEL, _LARGEST_LEVEL)
        y = np.log(kept / (1 - kept))
        if len(y) > 1:
            levels.append(x - x.mean(axis=0))
            said.append(y - y.mean())
    x, y = np.concatenate([np.empty((0, len(metrics))), *levels]), np.concatenate([np.empty(0), *said])
    if len(y) < FEWEST_MACHINE_DAYS:
        return {}
    gram = x.T @ x
    gram += _RIDGE * max(float(np.trace(gram)) / len(metrics), 1e-9) * np.eye(len(metrics))
    slope = np.asarray(np.linalg.solve(gram, x.T @ y))
    shift = np.nan_to_num(nan_median(np.stack(shifts), axis=0))
    return {name: float(slope[column] * shift[column]) for column, name in enumerate(metrics)}
