"""The evaluation of one model on pooled out-of-fold rows, with the naive rules beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from ml.evaluation.costs import OperatingCosts
from ml.evaluation.events import EventScore, ObservedHours, observe, score_events
from ml.evaluation.intervals import Estimate, by_machine, wilson
from ml.evaluation.probability import (
    CalibrationBin,
    average_precision,
    brier_skill,
    calibration_bins,
    expected_calibration_error,
    f1,
    ranking,
)

# Over all rows the healthy hours hide a bad calibration of the few that matter.
RISKY = 0.1


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of rows by models that saw neither their machines nor their period.

    Attributes:
        keys: `equipment_id`, `hour_at`, sorted by both.
        probability: Calibrated, shape (rows,).
        is_alert: By the threshold that each fold chose on its own training rows, shape (rows,).
        is_failure: Labels, shape (rows,).
        has_recent_error: Whether the machine reported an error in the last 24 h, shape (rows,).
        failures: `equipment_id`, `failure_at` of all failures known.
        horizon: How far ahead a failure counts.
        is_flagged: By the threshold of best F1 over machine-hours on each fold's training rows,
            shape (rows,); the alerts where none was chosen.
    """

    keys: pl.DataFrame
    probability: np.ndarray
    is_alert: np.ndarray
    is_failure: np.ndarray
    has_recent_error: np.ndarray
    failures: pl.DataFrame
    horizon: timedelta
    is_flagged: np.ndarray | None = None


@dataclass(frozen=True)
class RuleScore:
    """One alert rule: its event counts with intervals."""

    events: EventScore
    recall: Estimate
    precision: Estimate

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for metrics and cards."""
        return {
            "failures": self.events.failures,
            "recalled": self.events.recalled,
            "alert_events": self.events.alert_events,
            "right_alert_events": self.events.right_alert_events,
            "event_recall": self.recall.value,
            "event_precision": self.precision.value,
            "event_f1": self.events.f_score(),
            "false_alarms_per_machine_month": self.events.false_alarms_per_machine_month,
        }


@dataclass(frozen=True)
class EvaluationReport:
    """Everything that a model card and the promotion gate read.

    Attributes:
        horizon_hours: Horizon.
        rows: Out-of-fold rows.
        machines: Machines among them.
        base_rate: Share of positive rows.
        model: The model's alerts.
        baselines: `all_negative`, `all_positive`, `error_24h`.
        average_precision: Area under the precision-recall curve.
        rule_average_precision: The same of the rule "an error in the last 24 h".
        brier_skill: Against always saying the rows' base rate.
        ece: Expected calibration error over all rows.
        ece_risky: The same over rows with a probability above 0.1.
        risky_rows: How many those are.
        bins: Reliability diagram.
        f1: Over machine-hours, by the rows flagged.
        always_alarm_f1: The same of flagging every row: what knowing nothing scores.
        costs: Prices that realised costs are counted in.
    """

    horizon_hours: int
    rows: int
    machines: int
    base_rate: float
    model: RuleScore
    baselines: Mapping[str, RuleScore]
    average_precision: Estimate
    rule_average_precision: float
    brier_skill: Estimate
    ece: float
    ece_risky: float
    risky_rows: int
    bins: tuple[CalibrationBin, ...]
    f1: Estimate
    always_alarm_f1: float
    costs: OperatingCosts

    def metrics(self) -> dict[str, float]:
        """Flat names and finite values, as they are logged; what is undefined is left out."""
        model = self.model
        found: dict[str, float] = {
            "event_recall": model.recall.value,
            "event_recall_low": model.recall.low,
            "event_recall_high": model.recall.high,
            "event_precision": model.precision.value,
            "event_precision_low": model.precision.low,
            "event_precision_high": model.precision.high,
            "event_f1": model.events.f_score(),
            "failures": model.events.failures,
            "alert_events": model.events.alert_events,
            "false_alarms_per_machine_month": model.events.false_alarms_per_machine_month,
            "average_precision": self.average_precision.value,
            "average_precision_low": self.average_precision.low,
            "average_precision_high": self.average_precision.high,
            "error_24h_average_precision": self.rule_average_precision,
            "brier_skill": self.brier_skill.value,
            "brier_skill_low": self.brier_skill.low,
            "brier_skill_high": self.brier_skill.high,
            "ece": self.ece,
            "ece_risky": self.ece_risky,
            "base_rate": self.base_rate,
            "rows": self.rows,
            "risky_rows": self.risky_rows,
            "f1": self.f1.value,
            "f1_low": self.f1.low,
            "f1_high": self.f1.high,
            "always_alarm_f1": self.always_alarm_f1,
            "realised_cost": self.costs.of(model.events),
        }
        for name, rule in self.baselines.items():
            found[f"{name}_event_recall"] = rule.recall.value
            found[f"{name}_event_precision"] = rule.precision.value
            found[f"{name}_event_f1"] = rule.events.f_score()
            found[f"{name}_realised_cost"] = self.costs.of(rule.events)
        return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def evaluate(found: OutOfFold, costs: OperatingCosts | None = None) -> EvaluationReport:
    """Score pooled out-of-fold predictions and the rules that need no model.

    Args:
        found: Predictions.
        costs: Prices to count realised costs in; the defaults of `OperatingCosts` without them.
    """
    observed = observe(found.keys, found.failures, found.horizon)
    rows = len(found.is_failure)
    rules = {
        "all_negative": np.zeros(rows, dtype=bool),
        "all_positive": np.ones(rows, dtype=bool),
        "error_24h": found.has_recent_error,
    }
    risky = found.probability > RISKY
    return EvaluationReport(
        horizon_hours=int(found.horizon / timedelta(hours=1)),
        rows=rows,
        machines=observed.machine_count,
        base_rate=float(found.is_failure.mean()),
        model=_score(observed, found.is_alert),
        baselines={name: _score(observed, is_alert) for name, is_alert in rules.items()},
        average_precision=by_machine(ranking(found.probability, found.is_failure), observed.machine),
        rule_average_precision=average_precision(found.has_recent_error.astype(np.float64), found.is_failure),
        brier_skill=by_machine(
            lambda weight: brier_skill(found.probability, found.is_failure, weight), observed.machine
        ),
        ece=expected_calibration_error(found.probability, found.is_failure),
        ece_risky=expected_calibration_error(found.probability[risky], found.is_failure[risky]),
        risky_rows=int(risky.sum()),
        bins=tuple(calibration_bins(found.probability, found.is_failure)),
        f1=by_machine(
            lambda weight: f1(
                found.is_alert if found.is_flagged is None else found.is_flagged, found.is_failure, weight
            ),
            observed.machine,
        ),
        always_alarm_f1=f1(np.ones(rows, dtype=bool), found.is_failure),
        costs=costs or OperatingCosts(),
    )


def _score(observed: ObservedHours, is_alert: np.ndarray) -> RuleScore:
    events = score_events(observed, is_alert)
    return RuleScore(
        events=events,
        recall=wilson(events.recalled, events.failures),
        precision=wilson(events.right_alert_events, events.alert_events),
    )
