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
    """Three machines of 300 h; some events are reported hours after they happened."""
    machines = ("a", "b", "c")
    events = [(name, 90.0 + 60 * number, "failure", "comp1") for number, name in enumerate(machines)]
    events += [(name, 80.0 + 60 * number, "error", "e1") for number, name in enumerate(machines)]
    events += [("a", 200.0, "component_replacement", "comp1"), ("b", 210.0, "error", "e2")]
    found = history(machines, 300, events, seed)
    late = found.events.with_columns(pl.col("known_at") + pl.duration(hours=9))
    return replace(found, events=pl.concat([found.events[:4], late[4:]]))


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
