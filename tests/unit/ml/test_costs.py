"""The operating point by cost, and labels that end where failures are known."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from made_up_plant import METRICS, at, history

from ml.datasets.training_set import Provenance, TrainingSet, build_training_set
from ml.evaluation.costs import OperatingCosts
from ml.evaluation.events import EventScore
from ml.features.build import feature_set_of
from ml.training.fitting import FailureParameters, best_row_threshold, choose_threshold

DAY = timedelta(hours=24)


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    """Two machines of ten days, one of which fails once."""
    plant = history(("a", "b"), 240, [("a", 100.0, "failure", "c")])
    return build_training_set(plant, DAY, at(240), Provenance("test"), feature_set_of(plant, METRICS))


def said(data: TrainingSet) -> np.ndarray:
    """0.3 in the day before the failure, 0.6 in two healthy days, 0.01 else."""
    hour = (data.keys["hour_at"] - at(0)).dt.total_hours().to_numpy()
    is_b = (data.keys["equipment_id"] == "b").to_numpy()
    probability = np.full(len(hour), 0.01)
    probability[data.is_failure] = 0.3
    probability[is_b & ((hour == 50) | (hour == 150))] = 0.6
    return probability


@pytest.mark.parametrize(
    ("costs", "alerts"),
    [
        # Two wrong visits and one right one cost 3, a missed failure 10: all three are made.
        (OperatingCosts(10.0, 1.0), (0.3, True)),
        # A failure that costs less than the visits is not worth an alert: the highest threshold.
        (OperatingCosts(0.5, 1.0), (0.3, False)),
    ],
)
def test_threshold_follows_the_prices(
    data: TrainingSet, costs: OperatingCosts, alerts: tuple[float, bool]
) -> None:
    """Forbids an operating point that does not move when a missed failure gets dearer."""
    rows = np.arange(data.keys.height)
    threshold = choose_threshold(data, rows, said(data), FailureParameters(costs=costs))
    level, is_alert = alerts
    assert (level >= threshold) is is_alert


def test_crew_hours_limit_the_visits() -> None:
    """Forbids alerts that nobody can follow: 4 visits of 4 h in one week need 16 crew hours."""
    # One machine for one week: 168 / 730.5 machine-months.
    events = EventScore(1, 1, 4, 1, 168 / 730.5)
    assert OperatingCosts(crew_hours_per_week=16.0).is_affordable(events, machines=1)
    assert not OperatingCosts(crew_hours_per_week=15.0).is_affordable(events, machines=1)


def test_best_row_threshold_is_where_f1_is_highest() -> None:
    """Forbids a threshold off by one row: at 0.8, two of two flagged rows are failures, of three in all."""
    probability = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    labels = np.array([True, True, False, False, True])
    # F1 is 0.5, 0.8, 0.67, 0.57, 0.75 from the first row to the last.
    assert best_row_threshold(probability, labels) == 0.8


def test_labels_end_where_failures_are_known(data: TrainingSet) -> None:
    """Forbids a negative before a failure that has not landed yet, and equal digests for two label ends."""
    plant = history(("a", "b"), 240, [("a", 100.0, "failure", "c")])
    lagging = replace(plant, events=plant.events.clear())
    features = feature_set_of(plant, METRICS)
    found = build_training_set(lagging, DAY, at(240), Provenance("test"), features, labels_until=at(90))
    # Hour 66 is the last whose day had passed by hour 90: none of the hours before the failure is in.
    assert found.keys["hour_at"].max() == at(66)
    whole = build_training_set(lagging, DAY, at(240), Provenance("test"), features)
    assert whole.data_digest != found.data_digest
