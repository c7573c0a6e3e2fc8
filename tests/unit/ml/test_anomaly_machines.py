"""Anomaly models of machines: normal time, choice by class, batch and single rows, on made-up hours."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from made_up_plant import at, history

from ml.anomaly.backtest import choose_by_class, judge
from ml.anomaly.machine_model import METHODS, fit_machine
from ml.anomaly.machine_rows import MachineRows, machine_rows
from ml.anomaly.scoring import fit_until, score_hour, score_machines

START = datetime(2026, 3, 2, tzinfo=UTC)


def _rows(hours: int = 1200, fault_from: int | None = None, seed: int = 1) -> MachineRows:
    """Two sensors with a daily rhythm; from `fault_from` on the second one drifts up for two days."""
    draws = np.random.default_rng(seed)
    wave = 3.0 * np.sin(np.arange(hours) * 2 * np.pi / 24)
    readings = np.stack([wave, 50 + 2 * wave], axis=1) + 0.3 * draws.normal(size=(hours, 2))
    failures: tuple[datetime, ...] = ()
    is_normal = np.ones(hours, dtype=bool)
    if fault_from is not None:
        readings[fault_from : fault_from + 48, 1] += 3.0
        failures = (START + timedelta(hours=fault_from + 48),)
        is_normal[fault_from : fault_from + 72] = False
    hour_at = pl.datetime_range(START, START + timedelta(hours=hours - 1), "1h", time_unit="us", eager=True)
    return MachineRows("m", "model", hour_at, ("volt", "vibration"), readings, is_normal, failures)


@pytest.mark.parametrize("method", METHODS)
def test_the_last_hour_alone_scores_as_in_the_batch(method: str) -> None:
    """Forbids a service that scores an hour otherwise than the nightly batch."""
    rows = _rows(700)
    model = fit_machine(rows, np.arange(700) < 500, method)
    batch = model.raw(rows)
    first = 650 - model.context
    window = replace(
        rows,
        hour_at=rows.hour_at[first:651],
        readings=rows.readings[first:651],
        is_normal=rows.is_normal[first:651],
    )
    assert model.raw(window)[-1] == pytest.approx(batch[650], rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_an_hour_by_itself_is_scored_as_the_batch_stores_it(method: str) -> None:
    """Forbids a service whose score, verdict or sensors differ from the stored ones, fit included."""
    rows = _rows(1200)
    clock = rows.hour_at[1199]
    batch = score_machines([rows], {"model": method}, clock)[0].scores
    model = fit_until(rows, {"model": method}, clock)
    assert model is not None
    for index in (1199, 1100, 900):
        said = score_hour(rows, model, index)
        stored = batch.row(by_predicate=pl.col("hour_at") == rows.hour_at[index], named=True)
        assert said.score == pytest.approx(stored["score"], rel=1e-9)
        assert said.is_anomalous == stored["is_anomalous"]
        assert sum(said.shares.values()) == pytest.approx(1.0)


def test_failures_and_incidents_are_not_normal_time() -> None:
    """Forbids learning from what led to a failure, from its repair, or from a calendar incident."""
    plant = history(
        machines=("a",), hours=500, events=[("a", 200.0, "failure", "comp1")], incidents=[("a", 300.0, 320.0)]
    )
    rows = machine_rows(plant)[0]
    is_normal = dict(zip(rows.hour_at.to_list(), rows.is_normal.tolist(), strict=True))
    assert not is_normal[at(160)]
    assert not is_normal[at(200)]
    assert not is_normal[at(310)]
    assert is_normal[at(140)]
    assert is_normal[at(400)]


def test_a_drift_before_a_failure_is_seen_at_few_false_alarms() -> None:
    """Forbids a detector that misses ten deviations for two days, or alarms 5 % of normal time."""
    score = judge(_rows(fault_from=1000), "level_shift")
    assert (score.failures, score.seen) == (1, 1)
    assert score.false_positive_share < 0.05


def test_each_class_gets_the_detector_that_did_best_on_it() -> None:
    """Forbids one detector for all, and a winner whose value is below another's."""
    machines = [_rows(fault_from=1000, seed=seed) for seed in range(2)]
    choice = choose_by_class(machines)["model"]
    values = {method: score.value for method, score in choice.scores.items()}
    assert choice.method == max(values, key=lambda method: values[method])
    assert set(values) == set(METHODS)


def test_scored_hours_have_not_taught_their_detector() -> None:
    """Forbids learning from the scored window: readings in it change no score before the change."""
    rows = _rows(1200)
    clock = rows.hour_at[1199]
    changed = rows.readings.copy()
    changed[1150:] += 100.0
    methods = {"model": "level_shift"}
    before = score_machines([rows], methods, clock)[0]
    after = score_machines([replace(rows, readings=changed)], methods, clock)[0]
    assert before.scores.height == 14 * 24
    early = before.scores["hour_at"] < rows.hour_at[1150]
    assert before.scores.filter(early).equals(after.scores.filter(early))
    assert len(after.events) >= 1
    assert after.events[-1].ends_at == clock
