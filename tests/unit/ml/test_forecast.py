"""Forecast candidates, their choice, intervals, limits and the answer's form."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ml.forecast.candidates import Ridge, SeasonalMean, SeasonalNaive, candidates_for
from ml.forecast.forecast import forecast
from ml.forecast.intervals import half_widths, running_half_widths
from ml.forecast.limits import Limits, limits_for, violations
from ml.forecast.selection import SeriesTooShortError, best_of, origins_between, select
from ml.forecast.series import HOUR, Series, regular

START = datetime(2026, 3, 2, tzinfo=UTC)


def _series(values: np.ndarray) -> Series:
    return Series(values, np.ones(len(values), dtype=bool), START, HOUR)


def _weekly(weeks: int, noise: float = 0.05, seed: int = 2) -> np.ndarray:
    """A machine that runs by shifts: 10 by day on weekdays, 4 at night, 1 at weekends."""
    hours = np.arange(weeks * 168)
    is_weekday, is_day = (hours // 24) % 7 < 5, (hours % 24 >= 6) & (hours % 24 < 22)
    level = np.where(is_weekday, np.where(is_day, 10.0, 4.0), 1.0)
    return level + noise * np.random.default_rng(seed).normal(size=len(hours))


def test_gaps_take_the_value_of_a_week_before_and_are_marked() -> None:
    """Forbids a gap that counts as an observation: hour 170 is missing and takes that of hour 2."""
    hours = [hour for hour in range(200) if hour != 170]
    found = regular(
        pl.Series([START + timedelta(hours=hour) for hour in hours], dtype=pl.Datetime("us", "UTC")),
        pl.Series([float(hour) for hour in hours]),
        HOUR,
    )
    assert found is not None
    assert len(found) == 200
    assert found.values[170] == 2.0
    assert np.flatnonzero(~found.is_observed).tolist() == [170]


@pytest.mark.parametrize(
    "candidate", [SeasonalNaive(1), SeasonalNaive(24), SeasonalMean(24), Ridge(24), Ridge(24, profile=168)]
)
def test_nothing_at_or_after_an_origin_is_read(candidate: Ridge) -> None:
    """Forbids leakage: with other values from the origin on, the forecast is the same."""
    values = _weekly(5)
    fitted = candidate.fit(values[:700], 24)
    other = values.copy()
    other[750:] = -99.0
    origins = np.array([750])
    np.testing.assert_array_equal(fitted.forecast(values, origins, 24), fitted.forecast(other, origins, 24))


def test_ridge_finds_a_linear_rule() -> None:
    """Forbids a wrong shift between lags and targets: a sine is exactly linear in two of its past values."""
    values = np.sin(np.arange(600) * 2 * np.pi / 30)
    ahead = Ridge(30, penalty=1e-8).fit(values[:500], 10).forecast(values, np.array([550]), 10)
    np.testing.assert_allclose(ahead[0], values[550:560], atol=1e-3)


def test_a_weekly_rhythm_beats_the_last_value_by_far() -> None:
    """Forbids a choice that ignores the shifts; the naive error is several units, the noise 0.05."""
    found = select(_series(_weekly(8)), 24)
    assert found.candidate.name.startswith(("ridge_weekly", "seasonal_mean", "ridge_168"))
    assert found.judgement.mse < 0.01 * found.judgement.mse_of_naive
    assert found.judgement.mase < 1.0
    assert found.judgement.mape_percent < 5.0
    assert 80.0 <= found.judgement.coverage_percent <= 97.0


def test_a_random_walk_keeps_the_last_value() -> None:
    """Forbids a dearer candidate that won by chance: nothing beats the last value of a random walk."""
    walk = np.cumsum(np.random.default_rng(5).normal(size=1500))
    assert (
        select(_series(walk), 24).judgement.mse < 1.15 * select(_series(walk), 24, only="naive").judgement.mse
    )


def test_a_named_candidate_is_kept() -> None:
    """Forbids a served version whose choice is quietly made anew."""
    assert select(_series(_weekly(8)), 24, only="naive").candidate.name == "naive"


def test_a_simpler_candidate_stays_until_it_is_clearly_beaten() -> None:
    """Forbids a change for one percent: 2 % are needed."""
    assert best_of({"naive": 1.0, "ridge": 0.99}) == "naive"
    assert best_of({"naive": 1.0, "ridge": 0.97}) == "ridge"


def test_origins_visit_every_hour_of_the_day() -> None:
    """Forbids thinning by a multiple of a day, which would judge one hour only."""
    origins = origins_between(1000, 10_000, 24, most=100)
    assert len(origins) <= 100
    assert len(set((origins % 24).tolist())) == 24


def test_too_short_a_series_says_how_much_is_needed() -> None:
    """Forbids a traceback from the depths of an empty backtest."""
    with pytest.raises(SeriesTooShortError, match="needs at least"):
        select(_series(np.arange(30.0)), 24)


def test_half_widths_hold_the_asked_share() -> None:
    """Forbids another quantile: of errors 1 to 100, 90 % with the conformal correction lie within 91."""
    widths = half_widths(np.arange(1.0, 101.0)[:, None], 0.9)
    # 0.9 * (1 + 1 / 100) = 0.909 of the way from 1 to 100: 1 + 0.909 * 99.
    assert widths[0] == pytest.approx(1 + 0.909 * 99)


def test_running_intervals_use_passed_errors_only_and_cover() -> None:
    """Forbids a width that knows its own error, and coverage more than 3 points off on stationary errors."""
    errors = np.random.default_rng(6).normal(size=(1500, 2))
    widths = running_half_widths(errors, spacing=1, memory=300)
    changed = errors.copy()
    changed[900:] *= 50.0
    # The width at origin 900 for the first step ahead stands on origins before 900 alone.
    assert running_half_widths(changed, spacing=1, memory=300)[900, 0] == widths[900, 0]
    covered = np.abs(errors[400:]) <= widths[400:]
    assert 0.87 <= covered.mean() <= 0.93


def test_limits_name_the_worst_crossing() -> None:
    """Forbids a warning where the critical limit is crossed too."""
    limits = Limits(60.0, 70.0, None, None, "runbook")
    instants = [START + timedelta(hours=hour) for hour in range(3)]
    found = violations(limits, instants, np.array([59.0, 61.0, 71.0]))
    assert [(each.at, each.threshold, each.severity) for each in found] == [
        (instants[1], 60.0, "Warning"),
        (instants[2], 70.0, "Critical"),
    ]


def test_a_metric_without_a_stated_limit_is_held_to_its_own_range() -> None:
    """Forbids invented limits: a value inside of what the series has shown never crosses."""
    series = _series(_weekly(4))
    limits = limits_for(series, "power_kw", "another-model")
    assert all(limits.crossed(float(value)) is None for value in series.values)
    assert limits.crossed(1000.0) is not None


def test_the_answer_has_the_agreed_form() -> None:
    """Forbids another shape of the answer than users wrote against."""
    found = forecast(_series(_weekly(6) + 58.0), 24, "CNC-A-102", "temperature_c", "HX-500").to_json()
    assert set(found) == {"forecasted_values", "threshold_violations", "recommendation"}
    assert len(found["forecasted_values"]) == 24
    first = found["forecasted_values"][0]
    assert set(first) == {"timestamp", "value", "confidence_interval"}
    assert first["confidence_interval"][0] <= first["value"] <= first["confidence_interval"][1]
    assert datetime.fromisoformat(first["timestamp"]) == START + timedelta(hours=6 * 168)
    # 58 + 10 by day is above the 60 of the machine's runbook.
    assert {each["severity"] for each in found["threshold_violations"]} == {"Warning"}
    assert "60" in found["recommendation"]


def test_candidates_need_enough_history() -> None:
    """Forbids a fit with more weights than twelve rows each can hold."""
    assert [found.name for found in candidates_for(30, 24, 168)] == ["naive"]
    assert "ridge_336" not in {found.name for found in candidates_for(4000, 24, 168)}
