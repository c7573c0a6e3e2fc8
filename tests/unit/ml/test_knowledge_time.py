"""What becomes known after T changes nothing that is built as known at T."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_plant import METRICS, at, history

from ml.datasets.leakage import disturb_after, probe_instant, probe_leakage
from ml.datasets.training_set import Provenance, build_training_set
from ml.features import build
from ml.features.build import feature_set_of
from ml.features.history import PlantHistory

DAY = timedelta(hours=24)


def plant(seed: int = 3) -> PlantHistory:
    """Three machines of 300 h; some events and readings are reported hours after they happened."""
    machines = ("a", "b", "c")
    events = [(name, 90.0 + 60 * number, "failure", "comp1") for number, name in enumerate(machines)]
    events += [(name, 80.0 + 60 * number, "error", "e1") for number, name in enumerate(machines)]
    events += [("a", 200.0, "component_replacement", "comp1"), ("b", 210.0, "error", "e2")]
    found = history(machines, 300, events, seed)
    late = found.events.with_columns(pl.col("known_at") + pl.duration(hours=9))
    # Every 23rd hour comes 20 h late: past the usual delay, and for some after the instant of a probe.
    is_late = found.metrics["hour_at"].dt.epoch("s") // 3600 % 23 == 0
    delayed = pl.when(is_late).then(pl.col("known_at") + pl.duration(hours=20)).otherwise("known_at")
    return replace(
        found,
        events=pl.concat([found.events[:4], late[4:]]),
        metrics=found.metrics.with_columns(delayed.alias("known_at")),
    )


@settings(max_examples=12, deadline=None)
@given(hour=st.integers(60, 290), seed=st.integers(0, 2**16))
def test_shuffling_everything_after_t_changes_nothing(hour: int, seed: int) -> None:
    """Forbids any path by which the future reaches a training set as known at T."""
    found, instant = plant(), at(hour)
    features = feature_set_of(found.known_at(instant), METRICS)
    then = build_training_set(found, DAY, instant, Provenance("test"), features)
    other = build_training_set(
        disturb_after(found, instant, seed), DAY, instant, Provenance("test"), features
    )
    assert other.data_digest == then.data_digest
    assert other.keys.equals(then.keys)
    np.testing.assert_array_equal(other.values, then.values)
    np.testing.assert_array_equal(other.is_failure, then.is_failure)
    assert other.keys["hour_at"].max() <= instant - DAY


def test_probe_passes_what_is_sound() -> None:
    """Forbids a probe that cries wolf: late events and the growth of the history are no leaks."""
    found = plant()
    instant = probe_instant(found)
    assert instant == at(199)  # two thirds of 299 h
    report = probe_leakage(found, DAY, instant)
    assert report.rows > 300
    assert (report.leaked, report.columns) == (0, ())


def test_bulk_load_is_not_taken_for_late_readings() -> None:
    """Forbids a copied history whose every value is masked because it was known on the day of the copy."""
    found = history(("a",), 400)
    features = feature_set_of(found, METRICS)
    usual = build.build_features(found, features)
    copied = replace(found, metrics=found.metrics.with_columns(pl.lit(at(500)).alias("known_at")))
    np.testing.assert_array_equal(build.build_features(copied, features).values, usual.values)
    assert build.count_late_hours(copied) == 0
    # Three days from a device's buffer are late, and were not there when they were needed.
    buffered = pl.when(pl.col("hour_at").is_between(at(100), at(172))).then(pl.lit(at(173)))
    late = replace(
        found, metrics=found.metrics.with_columns(buffered.otherwise("known_at").alias("known_at"))
    )
    assert build.count_late_hours(late) == 67  # of 73, the last 6 came within the usual delay of 6 h


def test_probe_finds_a_window_that_looks_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a probe that never fails: a mean over the next day is found, and named."""
    honest = build.metric_features

    def peeking(hours: pl.DataFrame, metrics: tuple[build.Metric, ...]) -> pl.DataFrame:
        ahead = pl.col("volt_mean").reverse().rolling_mean(24, min_samples=1).reverse()
        peeked = hours.select(ahead.over("equipment_id").alias("peek"))["peek"]
        return honest(hours, metrics).with_columns(peeked.alias("volt_mean_24h"))

    monkeypatch.setattr(build, "metric_features", peeking)
    found = plant()
    report = probe_leakage(found, DAY, at(200))
    assert report.leaked > 0
    assert report.columns == ("volt_mean_24h",)
