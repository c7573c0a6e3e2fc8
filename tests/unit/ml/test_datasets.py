"""Labels, maturity, incidents, digests and training sets as known at an instant."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from made_up_plant import METRICS, at, history

from ml.datasets.digest import history_digest
from ml.datasets.labels import label_hours
from ml.datasets.training_set import NotEnoughDataError, Provenance, build_training_set
from ml.features.build import feature_set_of

DAY = timedelta(hours=24)
FAILURE = (("a", 100.0, "failure", "comp1"),)


def labels_of(plant, machine: str = "a") -> pl.DataFrame:
    keys = plant.metrics.select("equipment_id", "hour_at").sort("equipment_id", "hour_at")
    return label_hours(keys, plant, DAY, plant.clock).filter(pl.col("equipment_id") == machine)


def test_label_is_true_in_the_horizon_before_a_failure_and_not_at_it() -> None:
    """Forbids labelling the failure's own hour, or a horizon that is one hour long or short."""
    found = labels_of(history(events=FAILURE))["is_failure"].to_list()
    # Failure at 100: hours 76 to 99 lie within 24 h before it.
    assert [hour for hour in range(240) if found[hour]] == list(range(76, 100))


def test_immature_hours_have_no_label() -> None:
    """Forbids a negative that only says 'not yet': the last 24 of 240 hours are unlabelled."""
    found = labels_of(history(events=FAILURE))
    # The clock is hour 239; hour 215 + 24 h = 239 has passed, hour 216 has not.
    assert found["is_failure"].is_null().to_list() == [hour > 215 for hour in range(240)]


def test_an_immature_hour_before_a_known_failure_has_no_label_either() -> None:
    """Forbids filling the last day with positives only, which would teach that late hours fail."""
    found = labels_of(history(events=(("a", 230.0, "failure", "comp1"),)))
    assert found["is_failure"].to_list()[206:216] == [True] * 10
    assert found["is_failure"].is_null().to_list()[216:] == [True] * 24


def test_hours_in_incidents_are_not_usable() -> None:
    """Forbids training on an outage; the incident of one machine leaves the other alone."""
    plant = history(incidents=(("a", 49.5, 52.0),))
    # An hour is (h - 1, h]: 50, 51 and 52 touch (49.5, 52).
    assert [h for h, ok in enumerate(labels_of(plant)["is_usable"]) if not ok and h < 200] == [50, 51, 52]
    assert labels_of(plant, "b")["is_usable"].to_list()[:200] == [True] * 200
    everyone = history(incidents=((None, 49.5, 52.0),))
    assert not labels_of(everyone, "b")["is_usable"].to_list()[50]


def test_components_failing_together_are_one_failure() -> None:
    """Forbids counting one stop of a machine twice."""
    plant = history(events=(*FAILURE, ("a", 100.0, "failure", "comp2")))
    assert plant.failures.rows() == [("a", at(100), "comp1+comp2")]


def test_digest_ignores_order_and_columns_without_values() -> None:
    """Forbids retraining because rows came in another order or another tenant got a new metric."""
    plant = history(events=FAILURE)
    shuffled = replace(
        plant,
        metrics=plant.metrics.sample(fraction=1.0, shuffle=True, seed=1).with_columns(
            pl.lit(None, pl.Float64).alias("power_kw_mean")
        ),
    )
    assert history_digest(shuffled) == history_digest(plant)


def test_digest_ignores_the_last_bits_and_sees_everything_else() -> None:
    """Forbids a digest that follows summation order, or one that misses a changed value or event."""
    plant = history(events=FAILURE)
    rebuilt = replace(plant, metrics=plant.metrics.with_columns(pl.col("volt_mean") * (1 + 1e-15)))
    moved = replace(
        plant,
        metrics=plant.metrics.with_columns(
            pl.when(pl.col("hour_at") == at(7)).then(99.0).otherwise(pl.col("volt_mean")).alias("volt_mean")
        ),
    )
    assert history_digest(rebuilt) == history_digest(plant)
    assert history_digest(moved) != history_digest(plant)
    assert history_digest(replace(plant, events=plant.events.clear())) != history_digest(plant)
    assert history_digest(replace(plant, tenant_id="other")) != history_digest(plant)


def test_training_set_as_of_equals_one_from_truncated_data() -> None:
    """The leakage probe: forbids any difference between 'as known at T' and 'rebuilt from data up to T'."""
    events = (("a", 50.0, "failure", "c"), ("a", 200.0, "failure", "c"), ("b", 90.0, "error", "e1"))
    plant = history(events=events)
    instant = at(150)
    truncated = replace(
        plant,
        metrics=plant.metrics.filter(pl.col("hour_at") <= instant),
        events=plant.events.filter(pl.col("event_at") <= instant),
    )
    features = feature_set_of(truncated, METRICS)
    then = build_training_set(plant, DAY, instant, Provenance("test"), features)
    rebuilt = build_training_set(truncated, DAY, instant, Provenance("test"), features)
    assert then.keys.equals(rebuilt.keys)
    np.testing.assert_array_equal(then.values, rebuilt.values)
    np.testing.assert_array_equal(then.is_failure, rebuilt.is_failure)
    assert then.data_digest == rebuilt.data_digest
    assert then.keys["hour_at"].max() == instant - DAY


def test_a_failure_that_was_reported_late_is_no_label_before() -> None:
    """Forbids a label that nobody could have known: it happened at 50, the plant heard of it at 180."""
    plant = history(events=(("a", 50.0, "failure", "c"),))
    late = replace(plant, events=plant.events.with_columns(pl.lit(at(180)).alias("known_at")))
    features = feature_set_of(plant, METRICS)
    assert build_training_set(late, DAY, at(150), Provenance("test"), features).is_failure.sum() == 0
    assert build_training_set(late, DAY, at(190), Provenance("test"), features).is_failure.sum() == 24


def test_too_little_data_says_what_there_is() -> None:
    """Forbids an empty training set that fails somewhere inside a library."""
    with pytest.raises(NotEnoughDataError, match="none with a mature label"):
        build_training_set(history(hours=12), DAY, at(12), Provenance("test"))
