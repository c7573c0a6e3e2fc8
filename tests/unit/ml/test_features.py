"""Features: the declared list, hand-checked values, equal values in batch and single row, no future."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from made_up_plant import METRICS, at, history

from ml.features.build import build_features, count_late_hours, feature_set_of, features_at
from ml.features.metrics import contract_metrics
from ml.features.specs import FeatureSet

EVENTS = (
    ("a", 10.0, "error", "e1"),
    ("a", 30.5, "error", "e2"),
    ("a", 31.0, "error", "e1"),
    ("a", 20.0, "component_replacement", "comp1"),
    ("a", 60.0, "failure", "comp1"),
    ("a", 62.0, "maintenance", "comp1"),
    ("b", 5.0, "error", "e1"),
)


def column(frame, name: str, machine: str = "a") -> np.ndarray:
    rows = (frame.keys["equipment_id"] == machine).to_numpy()
    return frame.values[rows, frame.names.index(name)]


def test_columns_are_those_of_the_declared_list() -> None:
    """Forbids a feature that is computed and not declared, or declared and never computed."""
    plant = history(events=EVENTS)
    features = feature_set_of(plant, METRICS)
    frame = build_features(plant, features)
    assert frame.values.shape == (480, len(features.specs))
    assert len(set(features.names)) == len(features.names)
    # After ten days only the 31-day look-back is short; no declared column may be empty.
    assert not np.isnan(frame.values).all(axis=0).any()


def test_rolling_values_are_those_computed_by_hand() -> None:
    """Forbids windows that are off by one hour, count rows of another machine, or stretch over gaps."""
    plant = history(events=EVENTS)
    frame = build_features(plant, feature_set_of(plant, METRICS))
    volt = plant.metrics.filter(pl.col("equipment_id") == "a")["volt_mean"].to_numpy()
    assert column(frame, "volt_mean_24h")[100] == pytest.approx(volt[77:101].mean(), rel=1e-6)
    assert column(frame, "volt_std_24h")[100] == pytest.approx(volt[77:101].std(ddof=1), rel=1e-5)
    assert column(frame, "volt_max_24h")[100] == pytest.approx(volt[77:101].max() + 1.0, rel=1e-6)
    trend = volt[89:101].mean() - volt[77:89].mean()
    assert column(frame, "volt_trend_24h")[100] == pytest.approx(trend, rel=1e-4)
    change = volt[77:101].mean() / volt[:77].mean() - 1.0
    assert column(frame, "volt_change_30d")[100] == pytest.approx(change, rel=1e-4)


def test_a_gap_shortens_a_window() -> None:
    """Forbids windows counted in rows: with 20 hours missing, 24 h hold 4 rows and not the last 24."""
    plant = history()
    gap = (pl.col("hour_at") > at(100)) & (pl.col("hour_at") <= at(120))
    cut = replace(plant, metrics=plant.metrics.filter(~gap))
    frame = build_features(cut, feature_set_of(cut, METRICS))
    volt = plant.metrics.filter(pl.col("equipment_id") == "a")["volt_mean"].to_numpy()
    row = frame.keys.with_row_index().filter(
        (pl.col("equipment_id") == "a") & (pl.col("hour_at") == at(121))
    )["index"][0]
    expected = np.append(volt[98:101], volt[121]).mean()
    assert frame.values[row, frame.names.index("volt_mean_24h")] == pytest.approx(expected, rel=1e-6)


def test_event_counts_and_hours_since() -> None:
    """Forbids counting an event before it happened, after its window, or for another machine."""
    plant = history(events=EVENTS)
    frame = build_features(plant, feature_set_of(plant, METRICS))
    errors = column(frame, "errors_24h")
    # Errors of a at 10, 30.5 and 31: at 9 none, at 10 one, at 31 all three (10 is 21 h ago), at 34 two.
    assert [errors[hour] for hour in (9, 10, 31, 34, 54, 55)] == [0, 1, 3, 2, 2, 0]
    assert column(frame, "errors_e1_48h")[40] == 2
    assert column(frame, "hours_since_error")[33] == 2
    assert np.isnan(column(frame, "hours_since_error")[9])
    assert column(frame, "hours_since_comp1_replaced")[50] == 30
    assert column(frame, "hours_since_maintenance")[70] == 8
    assert [column(frame, "failures_before")[hour] for hour in (59, 60)] == [0, 1]
    assert column(frame, "errors_24h", "b")[6] == 1


def test_event_counts_from_when_it_was_known() -> None:
    """Forbids knowing at 12:00 what was reported at 20:00."""
    plant = history(events=EVENTS)
    late = pl.when(pl.col("event_at") == at(10)).then(at(15.5)).otherwise(pl.col("known_at"))
    reported = replace(plant, events=plant.events.with_columns(late.alias("known_at")))
    errors = column(build_features(reported, feature_set_of(reported, METRICS)), "errors_24h")
    assert [errors[hour] for hour in (10, 15, 16)] == [0, 0, 1]


def test_batch_and_single_row_give_equal_values() -> None:
    """Forbids training on one computation and serving another."""
    plant = history(hours=1000, events=EVENTS)
    features = feature_set_of(plant, METRICS)
    batch = build_features(plant, features)
    for machine, hour in (("a", 30), ("a", 400), ("b", 999)):
        single = features_at(plant, features, machine, at(hour))
        row = hour if machine == "a" else 1000 + hour
        np.testing.assert_allclose(single.values[0], batch.values[row], rtol=1e-4, atol=1e-4)


def test_no_feature_changes_when_the_future_does() -> None:
    """Forbids any look ahead: everything after hour 150 is shuffled, rows up to 150 stay as they are."""
    plant = history(events=EVENTS)
    features = feature_set_of(plant, METRICS)
    is_future = plant.metrics["hour_at"] > at(150)
    values = [name for name in plant.metrics.columns if name.startswith(("volt", "vibration"))]
    shuffled = plant.metrics.with_columns(
        pl.when(is_future).then(pl.col(values).shuffle(seed=1) * 7).otherwise(pl.col(values)).name.keep()
    )
    later = pl.DataFrame(
        [("a", at(151), "failure", "comp1", at(151)), ("a", at(160), "error", "e1", at(160))],
        schema=plant.events.schema,
        orient="row",
    )
    changed = replace(plant, metrics=shuffled, events=pl.concat([plant.events, later]))
    before, after = build_features(plant, features), build_features(changed, features)
    is_past = (before.keys["hour_at"] <= at(150)).to_numpy()
    np.testing.assert_array_equal(before.values[is_past], after.values[is_past])
    assert not np.array_equal(before.values[~is_past], after.values[~is_past], equal_nan=True)


def test_hours_known_too_late_are_in_no_window() -> None:
    """Forbids using in training what was not there when a prediction would have been made."""
    plant = history()
    is_late = (pl.col("hour_at") == at(100)) & (pl.col("equipment_id") == "a")
    metrics = plant.metrics.with_columns(
        pl.when(is_late)
        .then(pl.col("hour_at") + timedelta(hours=7))
        .otherwise(pl.col("known_at"))
        .alias("known_at"),
        pl.when(is_late).then(1e6).otherwise(pl.col("volt_mean")).alias("volt_mean"),
    )
    late = replace(plant, metrics=metrics)
    assert count_late_hours(late) == 1
    frame = build_features(late, feature_set_of(late, METRICS))
    assert column(frame, "volt_mean_24h")[110] < 200


def test_residual_sees_what_the_other_metric_does_not_explain() -> None:
    """Forbids calling load a fault: two metrics that rise together are usual, one that rises alone is not."""
    hours = 600
    rng = np.random.default_rng(5)
    load = rng.normal(size=hours)
    load[500:] += 5.0
    volt, vibration = 100 + 10 * load + rng.normal(size=hours), 40 + 4 * load + rng.normal(size=hours)
    plant = history(("a",), hours)
    driven = plant.metrics.with_columns(volt_mean=pl.Series(volt), vibration_mean=pl.Series(vibration))
    extra = 20.0 * (np.arange(hours) >= 500)
    together = replace(plant, metrics=driven)
    alone = replace(plant, metrics=driven.with_columns(vibration_mean=pl.Series(vibration + extra)))
    features = feature_set_of(plant, METRICS)
    explained = abs(column(build_features(together, features), "vibration_residual_24h")[520])
    unexplained = abs(column(build_features(alone, features), "vibration_residual_24h")[520])
    assert explained < 10
    assert unexplained > 5 * explained


def test_what_a_tenant_never_measured_is_dropped_and_recorded() -> None:
    """Forbids columns of nothing, and dropping without saying so."""
    features = feature_set_of(history(), contract_metrics())
    dropped = dict(features.dropped)
    assert {metric.name for metric in features.metrics} == {"volt", "vibration"}
    assert "no reading" in dropped["temperature_c"]
    assert "9 days" in dropped["season"]


def test_feature_set_survives_json() -> None:
    """Forbids a served model that expects other columns than it was trained on."""
    features = feature_set_of(history(events=EVENTS), METRICS)
    assert FeatureSet.from_json(features.to_json()) == features


def test_unknown_hour_is_named() -> None:
    """Forbids an index error where a machine simply has no readings."""
    plant = history()
    with pytest.raises(KeyError, match="made-up/a has no readings"):
        features_at(plant, feature_set_of(plant, METRICS), "a", at(9999))
