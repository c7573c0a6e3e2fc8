"""False alarms and power of the feature tests on stationary autocorrelated series, beside naive tests.

Daily checks of a 7-day window of hourly readings against a fixed reference. Avoid real series here:
nobody knows which of their spans are stationary.
"""

# scipy has no stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from ml.drift.autoregression import coloured
from ml.drift.calibration import calibrate
from ml.drift.effects import effects

REFERENCE_DAYS, CHECKED_DAYS, WINDOW_HOURS = 90, 365, 7 * 24
_TRIALS = 6


@dataclass(frozen=True)
class FalseAlarmStudy:
    """What daily checks of stationary series gave.

    Attributes:
        coefficient: Of the first-order autoregression.
        feature_years: How many were checked.
        alarms_per_feature_year: Runs of alarmed days of the calibrated tests; a run is one alarm.
        stated_per_feature_year: What was asked for.
        found_in_14_days: Share of one-sigma steps that were alarmed within 14 days.
        ks_share: Share of checks that a Kolmogorov-Smirnov test at 5 % alarms.
        iid_z_per_feature_year: Runs of alarmed days of z > 3 for independent readings.
    """

    coefficient: float
    feature_years: int
    alarms_per_feature_year: float
    stated_per_feature_year: float
    found_in_14_days: float
    ks_share: float
    iid_z_per_feature_year: float


def study_false_alarms(
    seed: int, coefficient: float = 0.9, feature_years: int = 40, alarms_per_month: float = 0.05
) -> FalseAlarmStudy:
    """Run the study.

    Args:
        seed: Of the series.
        coefficient: φ of the hourly autoregression.
        feature_years: Independent series of a year each.
        alarms_per_month: Stated rate of the calibrated tests.
    """
    rng = np.random.default_rng(seed)
    alarms = iid = found = trials = 0
    ks: list[bool] = []
    for _ in range(feature_years):
        series = _series(rng, coefficient)
        reference, year = series[: REFERENCE_DAYS * 24], series[REFERENCE_DAYS * 24 :]
        limits = calibrate(reference, WINDOW_HOURS, alarms_per_month)
        bars = np.array([limits.location, *limits.shapes])[:, None]
        windows = np.lib.stride_tricks.sliding_window_view(year, WINDOW_HOURS)[::24]
        alarms += _runs(_is_alarm(reference, windows, bars))
        naive = np.abs(windows.mean(axis=1) - reference.mean()) / (reference.std() / np.sqrt(WINDOW_HOURS))
        iid += _runs(naive > 3)
        ks += [_ks_alarms(reference, window) for window in windows[::28]]
        for trial in range(_TRIALS):
            begins = (20 + 55 * trial) * 24
            shifted = year.copy()
            shifted[begins:] += rng.choice([-1.0, 1.0])
            ends = begins + np.arange(1, 15) * 24
            after = np.stack([shifted[end - WINDOW_HOURS : end] for end in ends])
            found += bool(_is_alarm(reference, after, bars).any())
            trials += 1
    return FalseAlarmStudy(
        coefficient=coefficient,
        feature_years=feature_years,
        alarms_per_feature_year=alarms / feature_years,
        stated_per_feature_year=12 * alarms_per_month,
        found_in_14_days=found / trials,
        ks_share=float(np.mean(ks)),
        iid_z_per_feature_year=iid / feature_years,
    )


def _series(rng: np.random.Generator, coefficient: float) -> np.ndarray:
    steps = (REFERENCE_DAYS + CHECKED_DAYS + 7) * 24
    noise = rng.standard_normal(steps + 500) * np.sqrt(1.0 - coefficient**2)
    return coloured(noise, coefficient)[500:]


def _is_alarm(reference: np.ndarray, windows: np.ndarray, bars: np.ndarray) -> np.ndarray:
    measured = effects(reference, windows)
    sizes = np.concatenate([np.abs(measured.location)[None], measured.shapes()])
    return np.asarray((sizes > bars).any(axis=0))


def _ks_alarms(reference: np.ndarray, window: np.ndarray) -> bool:
    found: Any = ks_2samp(reference, window)
    return float(found.pvalue) < 0.05


def _runs(flags: np.ndarray) -> int:
    return int((flags & ~np.concatenate([[False], flags[:-1]])).sum())
