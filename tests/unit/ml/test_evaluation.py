"""Events and alerts counted by hand, probability scores against their definitions, intervals."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from made_up_plant import at

from ml.evaluation.events import observe, score_events
from ml.evaluation.intervals import by_machine, wilson
from ml.evaluation.probability import average_precision, brier_skill, expected_calibration_error
from ml.evaluation.report import OutOfFold, evaluate

DAY = timedelta(hours=24)


def timeline(hours: int = 200, machines: tuple[str, ...] = ("a",)) -> pl.DataFrame:
    return pl.DataFrame(
        [(machine, at(hour)) for machine in machines for hour in range(hours)],
        schema=["equipment_id", "hour_at"],
        orient="row",
    )


def failing(*hours: float, machine: str = "a") -> pl.DataFrame:
    return pl.DataFrame(
        [(machine, at(hour)) for hour in hours], schema=["equipment_id", "failure_at"], orient="row"
    )


def alerts(*hours: int, of: int = 200) -> np.ndarray:
    return np.isin(np.arange(of), hours)


def test_alert_in_the_horizon_recalls_and_is_right() -> None:
    """Forbids an alert at the failure's own hour from counting, or one 24 h before from being missed."""
    observed = observe(timeline(), failing(100.0), DAY)
    early, at_it = score_events(observed, alerts(76)), score_events(observed, alerts(100))
    assert (early.recalled, early.right_alert_events, early.alert_events) == (1, 1, 1)
    assert (at_it.recalled, at_it.right_alert_events, at_it.alert_events) == (0, 0, 1)
    assert score_events(observed, alerts(75)).recalled == 0


def test_alerts_within_the_cool_down_are_one_event() -> None:
    """Forbids a model that repeats itself from counting one warning 24 times, or prolonging it for ever."""
    observed = observe(timeline(), failing(100.0), DAY)
    assert score_events(observed, alerts(*range(80, 100))).alert_events == 1
    # 0 to 199 without a break: a new event every 24 h, at 0, 24, …, 192.
    always = score_events(observed, np.ones(200, dtype=bool))
    assert always.alert_events == 9
    # Only the event at 96 is followed by the failure at 100 within 24 h.
    assert (always.right_alert_events, always.recalled) == (1, 1)


def test_failure_whose_horizon_was_not_observed_is_not_counted() -> None:
    """Forbids charging a model for what lies partly outside the hours that it was asked about."""
    observed = observe(timeline(), failing(10.0, 100.0, 230.0), DAY)
    assert score_events(observed, alerts()).failures == 1


def test_machines_do_not_borrow_each_others_failures() -> None:
    """Forbids an alert on one machine from recalling the failure of another."""
    observed = observe(timeline(machines=("a", "b")), failing(100.0, machine="b"), DAY)
    on_a = np.concatenate([alerts(90), alerts()])
    assert score_events(observed, on_a).recalled == 0
    assert score_events(observed, on_a[::-1].copy()).machine_months == pytest.approx(400 / 730.5)


def test_average_precision_treats_equal_scores_as_one_step() -> None:
    """Forbids an optimistic order within ties: a constant score is worth the base rate."""
    labels = np.array([True, False, False, True])
    assert average_precision(np.full(4, 0.5), labels) == pytest.approx(0.5)
    # Ranks 1 and 3 hit: (1/1 + 2/3) / 2.
    assert average_precision(np.array([0.9, 0.5, 0.1, 0.4]), labels) == pytest.approx((1 + 2 / 3) / 2)
    doubled = average_precision(np.array([0.9, 0.5, 0.1, 0.4]), labels, np.array([2.0, 1, 1, 1]))
    # The first row twice: hits at 1, 2 and 4 of 5 rows.
    assert doubled == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_brier_skill_of_the_base_rate_is_zero() -> None:
    """Forbids skill for saying what everybody knows."""
    labels = np.array([True] + [False] * 9)
    assert brier_skill(np.full(10, 0.1), labels) == pytest.approx(0.0)
    assert brier_skill(labels.astype(float), labels) == pytest.approx(1.0)


def test_calibration_error_is_the_weighted_distance() -> None:
    """Forbids bins without their weights: 8 rows off by 0.1 and 2 rows off by 0.5 are 0.18."""
    said = np.array([0.1] * 8 + [0.5] * 2)
    assert expected_calibration_error(said, np.array([False] * 8 + [True] * 2)) == pytest.approx(0.18)


def test_intervals_widen_with_less_evidence() -> None:
    """Forbids a perfect 12 of 12 from passing as certainty, and rows from passing as machines."""
    assert wilson(12, 12).low == pytest.approx(0.757, abs=0.001)
    assert np.isnan(wilson(0, 0).value)
    machine = np.repeat(np.arange(10), 100)
    values = np.repeat(np.arange(10, dtype=float), 100)
    found = by_machine(lambda weight: float(np.average(values, weights=weight)), machine)
    # Ten machines with standard deviation 2.9: ± 1.96 × 2.9 / √10 is ± 1.8, and not ± 0.18 of 1,000 rows.
    assert 2.4 < found.high - found.low < 4.4


def test_report_puts_the_naive_rules_beside_the_model() -> None:
    """Forbids a figure without its baseline."""
    labels = np.isin(np.arange(200), range(76, 100))
    report = evaluate(
        OutOfFold(
            keys=timeline(),
            probability=np.where(labels, 0.9, 0.01),
            is_alert=labels,
            is_failure=labels,
            has_recent_error=alerts(20, 90),
            failures=failing(100.0),
            horizon=DAY,
        )
    )
    metrics = report.metrics()
    assert metrics["event_recall"] == metrics["event_precision"] == 1.0
    # Two alert events of the rule, one followed by the failure.
    assert metrics["error_24h_event_precision"] == 0.5
    assert metrics["all_negative_event_recall"] == 0.0
    assert "all_negative_event_precision" not in metrics
