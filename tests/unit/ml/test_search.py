"""The search for parameters: what it may look at, and when it may win."""

from datetime import timedelta

from made_up_plant import history

from ml.datasets.training_set import Provenance, TrainingSet, build_training_set
from ml.training.fitting import FailureParameters
from ml.training.search import before_the_tests, search_parameters


def made_up() -> TrainingSet:
    """Eight machines for 100 days, each failing every 220 hours."""
    machines = tuple(f"m{number}" for number in range(8))
    events = [
        (name, float(hour + 17 * number), "failure", "comp1")
        for number, name in enumerate(machines)
        for hour in range(200, 2_300, 220)
    ]
    plant = history(machines=machines, hours=2_400, events=events)
    assert plant.clock is not None
    return build_training_set(plant, timedelta(hours=24), plant.clock, Provenance("made up"))


def test_the_search_sees_nothing_that_the_report_is_judged_on() -> None:
    """Forbids parameters chosen on the tested half: no row, label or failure of it is looked at."""
    data = made_up()
    early = before_the_tests(data)
    hours = data.keys["hour_at"]
    cut = hours.min() + (hours.max() - hours.min()) * 0.5  # type: ignore[operator]
    assert early.keys["hour_at"].max() + data.horizon <= cut  # type: ignore[operator]
    assert early.failures["failure_at"].max() <= cut  # type: ignore[operator]
    assert len(early.values) == len(early.is_failure) == early.keys.height


def test_noise_keeps_the_defaults() -> None:
    """Forbids a winner by luck: features without a sign of the failures leave nothing to gain."""
    found = search_parameters(made_up(), FailureParameters(trees=30), trials=4)
    assert found.trials == 4
    assert found.best_score >= found.default_score
    if not found.is_better:
        assert found.parameters == FailureParameters(trees=30)
    assert set(found.best) <= set(FailureParameters.__dataclass_fields__)
