"""Anomaly detectors, thresholds, events and the public benchmarks' scoring, on numbers that fit on a page."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ml.anomaly.detector import Detector, trailing_median
from ml.anomaly.events import group_events
from ml.anomaly.isolation import Isolation
from ml.anomaly.lagged_residual import LaggedResidual
from ml.anomaly.level_shift import LevelShift
from ml.anomaly.nab_scoring import probation_rows, scaled, score_file
from ml.anomaly.principal_components import PrincipalComponents
from ml.anomaly.running_extreme import RunningRange, TrainedExtreme
from ml.anomaly.stream import StreamDetector, StreamSettings, alarms
from ml.anomaly.threshold import ScoreScale, quantile_threshold, short_training_threshold

START = datetime(2026, 3, 1, tzinfo=UTC)
DETECTORS = [
    LaggedResidual(smoothing=5),
    PrincipalComponents(),
    LevelShift(6),
    Isolation(trees=5),
    TrainedExtreme(),
]


def _sensors(rows: int, seed: int = 1) -> np.ndarray:
    """Three sensors that follow one slow wave, with noise."""
    draws = np.random.default_rng(seed)
    wave = np.sin(np.arange(rows) / 9.0)
    return np.stack([wave, 2 * wave, -wave], axis=1) + 0.1 * draws.normal(size=(rows, 3))


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda found: found.name)
def test_row_by_row_equals_batch(detector: Detector) -> None:
    """Forbids a service whose score differs from the batch's: each row is scored again from its context."""
    values = _sensors(120)
    fitted = detector.fit(values[:90])
    batch = fitted.score(values)
    singles = [
        fitted.score(values[row - fitted.context : row + 1])[-1] for row in range(fitted.context, len(values))
    ]
    np.testing.assert_allclose(singles, batch[fitted.context :], rtol=1e-9)
    assert np.isnan(batch[: fitted.context]).all()


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda found: found.name)
def test_a_broken_sensor_scores_higher_and_is_named(detector: Detector) -> None:
    """Forbids a detector that misses one sensor leaving the others, or blames another one."""
    values = _sensors(400)
    values[350:, 1] += 8.0
    fitted = detector.fit(values[:300])
    score = fitted.score(values)
    assert np.nanmedian(score[360:]) > np.nanquantile(score[300:350], 0.9)
    assert fitted.contributions(values)[360:].mean(axis=0).argmax() == 1


def test_nothing_after_a_row_changes_its_score() -> None:
    """Forbids a score that looks ahead: the rows after it are replaced by noise."""
    values = _sensors(300)
    other = values.copy()
    other[250:] = np.random.default_rng(9).normal(size=(50, 3)) * 30
    fitted = LaggedResidual(smoothing=5).fit(values[:200])
    np.testing.assert_allclose(fitted.score(values)[:250], fitted.score(other)[:250], rtol=1e-12)


def test_trailing_median() -> None:
    """Forbids a window that is off by one: 1, 9, 2 have the median 2, and 9, 2, 3 the median 3."""
    found = trailing_median(np.array([1.0, 9.0, 2.0, 3.0]), 3)
    assert found[2:].tolist() == [2.0, 3.0]
    assert np.isnan(found[:2]).all()


def test_scores_keep_their_order_and_half_is_the_threshold() -> None:
    """Forbids a score that saturates beyond the training maximum, or a threshold elsewhere than 0.5."""
    normal = np.linspace(0.0, 10.0, 1001)
    scale = ScoreScale.of(normal, quantile_threshold(normal, 0.01))  # 1 % above: 9.9
    raw = np.array([0.0, 5.0, 9.9, 12.0, 50.0, np.nan])
    score = scale.score(raw)
    assert score[2] == pytest.approx(0.5)
    assert np.all(np.diff(score[:5]) > 0)
    assert score[0] >= 0.0
    assert score[4] < 1.0
    assert np.isnan(score[5])
    assert scale.is_anomalous(raw).tolist() == [False, False, False, True, True, False]


def test_short_training_never_alarms_its_own_training() -> None:
    """Forbids a threshold below what normal time itself has reached."""
    noisy = np.array([0.0, 0.1, 0.2, 3.0, np.nan])
    assert short_training_threshold(noisy) == 3.0
    # Median 0.1 plus the logarithm of 1.75.
    assert short_training_threshold(np.array([0.0, 0.1, 0.2])) == pytest.approx(0.1 + np.log(1.75))


def test_events_join_over_short_gaps_and_name_their_sensors() -> None:
    """Forbids point flags: hours 2, 3 and 6 are one event, the lone hour 20 is none."""
    hours = [START + timedelta(hours=hour) for hour in range(24)]
    is_anomalous = np.zeros(24, dtype=bool)
    is_anomalous[[2, 3, 6, 20]] = True
    score = np.full(24, 0.2)
    score[[2, 3, 6, 20]] = [0.6, 0.9, 0.7, 0.8]
    shares = np.tile([0.7, 0.25, 0.05], (24, 1))
    events = group_events("m", hours, score, is_anomalous, shares, ("volt", "rotate", "pressure"))
    assert [(event.starts_at, event.ends_at, event.hours) for event in events] == [(hours[2], hours[6], 3)]
    assert (events[0].peak_at, events[0].peak_score) == (hours[3], 0.9)
    # 5 % is below the least share that is named.
    assert [each.metric for each in events[0].contributing_sensors] == ["volt", "rotate"]
    assert "volt (70%)" in events[0].summary


def test_running_range_measures_in_its_own_range() -> None:
    """Forbids another unit: after 0, 1, 2 the median is 1 and the range 1, so 2.5 is 0.5 beyond."""
    seen = RunningRange()
    for value in (0.0, 1.0, 2.0):
        seen.exceedance(value)
    assert seen.exceedance(2.5) == pytest.approx(0.5)
    assert seen.exceedance(1.0) == 0.0


def test_stream_alarms_once_per_cool_down_and_equals_its_batch() -> None:
    """Forbids an alarm per value of one disturbance, and a batch that is another algorithm."""
    # Uniform noise has an edge: the last of its own records falls well before the jump at 400.
    draws = np.random.default_rng(2)
    quiet, later = draws.uniform(-1, 1, 400), draws.uniform(-1, 1, 80)
    values = np.concatenate([quiet, draws.uniform(-1, 1, 20) + 15, later])
    settings = StreamSettings(cool_down=48)
    batch = alarms(values, values_per_day=24, settings=settings)
    detector = StreamDetector(24, settings)
    assert [detector.update(float(value))[1] for value in values] == batch.tolist()
    assert batch[400]
    assert batch[400:448].sum() == 1


def test_nab_perfect_is_100_none_is_0_and_a_miss_is_minus_one() -> None:
    """Forbids another scale than the benchmark's: 0 without alarms, 100 for alarms at window starts."""
    instants = [START + timedelta(minutes=5 * row) for row in range(1000)]
    windows = [(instants[400], instants[449]), (instants[700], instants[749])]
    none = np.zeros(1000, dtype=bool)
    perfect = none.copy()
    perfect[[400, 700]] = True
    assert scaled([score_file(instants, windows, none)]) == 0.0
    assert scaled([score_file(instants, windows, perfect)]) == pytest.approx(100.0)
    # One hit of +1, one miss of -1, two windows: (0 + 2) / 4.
    one = none.copy()
    one[400] = True
    assert scaled([score_file(instants, windows, one)]) == pytest.approx(50.0)


def test_nab_false_alarms_cost_and_probation_is_free() -> None:
    """Forbids counting the first 15 %, and alarms far from any window that cost less than 0.11."""
    instants = [START + timedelta(minutes=5 * row) for row in range(1000)]
    windows = [(instants[400], instants[449])]
    assert probation_rows(1000) == 150
    assert probation_rows(100_000) == 750
    found = np.zeros(1000, dtype=bool)
    found[[100, 200, 900]] = True
    # Row 100 is free; 200 stands before every window and 900 far behind one: 0.11 each; the window missed.
    score = score_file(instants, windows, found)
    assert score.raw == pytest.approx(-1.0 - 2 * 0.11)
    assert score.false_positives == 2


def test_nab_early_alarms_earn_more() -> None:
    """Forbids a hit at the window's end that earns what one at its start earns."""
    instants = [START + timedelta(minutes=5 * row) for row in range(1000)]
    windows = [(instants[400], instants[499])]
    earned = []
    for row in (400, 450, 499):
        found = np.zeros(1000, dtype=bool)
        found[row] = True
        earned.append(score_file(instants, windows, found).raw)
    assert earned[0] > earned[1] > earned[2] > 0
