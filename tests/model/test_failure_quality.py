"""The failure model's worth on real data: it must beat the rule that needs no model."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from ml.datasets.azure_pdm import read_azure_pdm
from ml.datasets.training_set import Provenance, TrainingSet, build_training_set
from ml.models.horizons import NEXT_DAY, NEXT_WEEK
from ml.registry.gate import absolute_criteria
from ml.training.train import TrainedFailureModel, train_failure_model

pytestmark = pytest.mark.data


def training_set(folder: Path, horizon: timedelta) -> TrainingSet:
    history = read_azure_pdm(folder).replay
    assert history.clock is not None
    return build_training_set(history, horizon, history.clock, Provenance(str(folder)))


@pytest.fixture(scope="module")
def data(azure_pdm_dir: Path) -> TrainingSet:
    """The replay, labelled for 24 h."""
    return training_set(azure_pdm_dir, NEXT_DAY.length)


@pytest.fixture(scope="module")
def next_day(data: TrainingSet) -> TrainedFailureModel:
    """The model as the training asset trains it."""
    return train_failure_model(data)


def test_24_h_beats_the_error_rule_on_unseen_machines_and_time(next_day: TrainedFailureModel) -> None:
    """Forbids a model that is no better than 'an error in the last 24 h', which recalls all at 0.18.

    Bars stand below what was measured (15 of 15 at 0.84): one failure more or less of 15 is chance.
    """
    report = next_day.report
    rule = report.baselines["error_24h"].events
    assert report.model.events.failures >= 12
    assert report.model.events.recall >= 0.85
    assert report.model.events.precision >= 0.7 > 3 * rule.precision
    assert report.model.events.f_score() > 2 * rule.f_score()
    assert report.brier_skill.low > 0
    assert report.ece <= 0.01
    assert all(bar.is_held for bar in absolute_criteria(report.metrics(), NEXT_DAY))


def test_week_ahead_is_weak_and_honest(azure_pdm_dir: Path) -> None:
    """Forbids a 7-day probability that is worse than the base rate; no bar claims that it is good."""
    trained = train_failure_model(training_set(azure_pdm_dir, NEXT_WEEK.length))
    assert trained.report.average_precision.value > 2 * trained.report.base_rate
    assert trained.report.brier_skill.value > 0
    assert trained.report.ece <= 0.1


def test_training_again_gives_the_same_model(data: TrainingSet, next_day: TrainedFailureModel) -> None:
    """Forbids a model that depends on thread timing: equal data and parameters are one version."""
    again = train_failure_model(data)
    np.testing.assert_array_equal(again.out_of_fold.probability, next_day.out_of_fold.probability)
    np.testing.assert_array_equal(
        again.model.probability(data.values[:500]), next_day.model.probability(data.values[:500])
    )


def test_shuffled_labels_teach_nothing(data: TrainingSet) -> None:
    """Forbids folds that leak: with failures moved to other machines, the scores must fall to chance."""
    from dataclasses import replace

    machines = data.keys["equipment_id"].to_numpy()
    order = np.unique(machines)
    # Each machine gets the labels of the machine seven places further; times of day stay as they are.
    moved = np.concatenate(
        [data.is_failure[machines == order[(index + 7) % len(order)]] for index in range(len(order))]
    )
    moved = np.resize(moved, len(machines))
    trained = train_failure_model(replace(data, is_failure=moved))
    assert trained.report.average_precision.value < 0.15
