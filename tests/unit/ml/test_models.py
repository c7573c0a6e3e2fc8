"""Calibrators, artefacts, reasons, risk words, the gate, folds."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made_up_plant import METRICS, at, history

from ml.datasets.training_set import Provenance, TrainingSet, build_training_set
from ml.features.build import feature_set_of
from ml.models.calibration import PlattCalibrator, calibrator_from_json, fit_calibrator
from ml.models.explanations import explain
from ml.models.failure import FailureModel
from ml.models.horizons import NEXT_DAY, NEXT_WEEK
from ml.models.risk import RiskLevel, recommended_action, risk_band
from ml.registry.gate import absolute_criteria, compare
from ml.training.fitting import FailureParameters, fit_booster
from ml.training.folds import forward_folds

DAY = timedelta(hours=24)
MACHINES = ("a", "b", "c", "d", "e", "f")


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    """Six machines with a failure each, an error 10 h before it, and some harmless errors."""
    events = [(name, 150.0 + 40 * number, "failure", "comp1") for number, name in enumerate(MACHINES)]
    events += [(name, 140.0 + 40 * number, "error", "e1") for number, name in enumerate(MACHINES)]
    events += [(name, 30.0 + 7 * number, "error", "e2") for number, name in enumerate(MACHINES)]
    plant = history(MACHINES, 480, events)
    return build_training_set(plant, DAY, at(480), Provenance("test"), feature_set_of(plant, METRICS))


@pytest.fixture(scope="module")
def model(data: TrainingSet) -> FailureModel:
    """A model of these machines."""
    booster = fit_booster(data.values, data.is_failure, data.features, FailureParameters(trees=20))
    return FailureModel(booster, PlattCalibrator(1.0, 0.0), 0.5, 24, data.features)


def test_platt_finds_the_curve_that_made_the_labels() -> None:
    """Forbids a calibrator that stops before its optimum."""
    rng = np.random.default_rng(0)
    margin = rng.normal(-2, 2, 20_000)
    labels = rng.random(20_000) < 1 / (1 + np.exp(-(1.3 * margin + 0.5)))
    found = fit_calibrator(margin, labels, failures=50)
    assert isinstance(found, PlattCalibrator)
    assert found.slope == pytest.approx(1.3, abs=0.06)
    assert found.intercept == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("base_rate", [0.001, 0.02, 0.3])
@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
def test_platt_agrees_with_the_base_rate_whatever_the_margins(base_rate: float, spread: float) -> None:
    """Forbids a solver that overshoots: once, with confident margins, one fold said 22 points too much.

    At the optimum the intercept's gradient is zero, so the mean probability is the base rate.
    """
    rng = np.random.default_rng(4)
    labels = rng.random(20_000) < base_rate
    margin = rng.normal(size=20_000) * spread + np.where(labels, 2.0, -2.0) * spread - 5.0
    found = fit_calibrator(margin, labels, failures=50)
    assert found.probability(margin).mean() == pytest.approx(labels.mean(), rel=1e-3)


@pytest.mark.parametrize("failures", [50, 500])
def test_calibrators_never_turn_the_ranking_round(failures: int) -> None:
    """Forbids a higher margin from getting a lower probability, and a copy from giving other values."""
    rng = np.random.default_rng(1)
    margin = rng.normal(size=2000)
    calibrator = fit_calibrator(margin, rng.random(2000) < 0.1, failures)
    grid = np.linspace(-6, 6, 200)
    assert (np.diff(calibrator.probability(grid)) >= 0).all()
    copy = calibrator_from_json(calibrator.to_json())
    np.testing.assert_array_equal(copy.probability(grid), calibrator.probability(grid))


def test_separated_margins_stay_finite() -> None:
    """Forbids an infinite slope where the margins separate the classes."""
    found = fit_calibrator(np.array([-3.0, -2.0, 2.0, 3.0]), np.array([False, False, True, True]), failures=2)
    assert np.isfinite(found.probability(np.array([-3.0, 3.0]))).all()


def test_model_survives_its_folder(model: FailureModel, data: TrainingSet, tmp_path: Path) -> None:
    """Forbids an artefact that predicts otherwise than what was trained, or that holds a pickle."""
    model.save(tmp_path)
    loaded = FailureModel.load(tmp_path)
    np.testing.assert_array_equal(loaded.probability(data.values), model.probability(data.values))
    assert loaded.features == model.features
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}


def test_more_errors_never_lower_the_risk(model: FailureModel, data: TrainingSet) -> None:
    """Directional: forbids a model that calms down when a machine reports more errors."""
    more = data.values.copy()
    columns = [index for index, name in enumerate(data.features.names) if name.startswith("errors_")]
    before = model.margin(more)
    more[:, columns] += 1
    after = model.margin(more)
    assert (after >= before - 1e-6).all()
    assert (after > before + 0.1).any()


def test_contributions_add_up_to_the_margin(model: FailureModel, data: TrainingSet) -> None:
    """Forbids reasons that are not the model's own."""
    rows = data.values[:50]
    totals = model.contributions(rows).sum(axis=1)
    offset = model.margin(rows) - totals
    # What is left is the same bias for every row.
    assert np.ptp(offset) < 1e-4


def test_reasons_name_codes_and_measured_values(data: TrainingSet) -> None:
    """Forbids factors in feature names: a person reads '2 errors (e1, e2) in the last 24 h'."""
    names = data.features.names
    values = np.zeros(len(names))
    values[names.index("errors_24h")] = 2
    values[names.index("errors_e1_24h")] = values[names.index("errors_e2_24h")] = 1
    values[names.index("volt_change_30d")] = 0.12
    contributions = np.zeros(len(names))
    contributions[names.index("errors_24h")] = 2.0
    contributions[names.index("errors_e1_24h")] = 1.0
    contributions[names.index("volt_mean_24h")] = 0.5
    contributions[names.index("vibration_mean_3h")] = -4.0
    reasons = explain(data.features, values, contributions)
    assert [reason.sentence for reason in reasons] == [
        "2 errors (e1, e2) in the last 24 h",
        "volt 12% above its 30-day normal",
    ]
    assert reasons[0].contribution == 3.0


def test_risk_words_follow_the_marts_bounds() -> None:
    """Forbids a 'Critical' here that the health mart calls a warning."""
    levels = [risk_band(value).level for value in (0.0, 0.19, 0.2, 0.5, 0.79, 0.8, 1.0)]
    low, medium, high, critical = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL
    assert levels == [low, low, medium, high, high, critical, critical]
    assert recommended_action(0.6, "drive_belt", 168) == (
        "Check drive_belt within 7 days and have the spare part ready."
    )


PASSING = {
    "failures": 15.0,
    "average_precision": 0.9,
    "error_24h_average_precision": 0.2,
    "brier_skill": 0.5,
    "ece": 0.01,
    "event_f1": 0.9,
    "error_24h_event_f1": 0.3,
}


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({}, set()),
        ({"failures": 4.0}, {"enough_failures"}),
        ({"average_precision": 0.2}, {"ranks_better_than_error_rule"}),
        ({"brier_skill": 0.0}, {"beats_the_base_rate"}),
        ({"ece": 0.2}, {"is_calibrated"}),
        ({"event_f1": 0.3}, {"alerts_better_than_error_rule"}),
    ],
)
def test_each_bar_of_the_gate_can_fail(change: dict[str, float], failed: set[str]) -> None:
    """Forbids a gate with a bar that lets everything through; equal to the rule is not better."""
    found = absolute_criteria({**PASSING, **change}, NEXT_DAY)
    assert {bar.name for bar in found if not bar.is_held} == failed


def test_weekly_horizon_is_not_judged_on_alerts() -> None:
    """Forbids holding back a planning probability because its alerts would call nobody out anyway."""
    found = absolute_criteria({**PASSING, "event_f1": 0.1}, NEXT_WEEK)
    assert all(bar.is_held for bar in found)


def judged(probability: np.ndarray, labels: np.ndarray) -> pl.DataFrame:
    rows = len(labels)
    return pl.DataFrame(
        {
            "equipment_id": [f"m{row % 10}" for row in range(rows)],
            "hour_at": [at(row // 10) for row in range(rows)],
            "probability": probability,
            "is_failure": labels,
        }
    )


def test_only_a_clear_win_beats_the_champion() -> None:
    """Forbids promotion on noise: better beyond the interval wins, a tie and a loss keep the champion."""
    rng = np.random.default_rng(2)
    labels = rng.random(5000) < 0.05
    good, bad = labels * 0.5 + rng.random(5000) * 0.6, rng.random(5000)
    assert compare(judged(good, labels), judged(bad, labels)).is_won
    assert not compare(judged(bad, labels), judged(good, labels)).is_won
    assert not compare(judged(good, labels), judged(good, labels)).is_won


def test_too_few_common_rows_keep_the_champion() -> None:
    """Forbids a decision on a handful of hours, and says how many there were."""
    labels = np.zeros(100, dtype=bool)
    found = compare(judged(np.zeros(100), labels), judged(np.zeros(100), labels))
    assert not found.is_won
    assert "only 100 rows" in str(found)


def test_folds_keep_machines_and_time_apart(data: TrainingSet) -> None:
    """Forbids a tested machine in its fold's training rows, and a training label that looks past the cut."""
    tested: list[int] = []
    for fold in forward_folds(data, groups=3):
        machines = data.keys["equipment_id"].to_numpy()
        hours = data.keys["hour_at"]
        assert not set(machines[fold.train]) & set(machines[fold.test])
        assert (hours[fold.train] + DAY).max() <= fold.starts_at
        assert hours[fold.test].min() > fold.starts_at
        tested += fold.test.tolist()
    assert len(tested) == len(set(tested))
    # Every row of the second half is tested once.
    first, last = data.keys["hour_at"].min(), data.keys["hour_at"].max()
    assert len(tested) == (data.keys["hour_at"] > first + (last - first) / 2).sum()
