"""Feature tests: effect sizes, thresholds, false discoveries; estimated performance."""

import numpy as np
import pytest

from ml.drift.autoregression import coloured
from ml.drift.effects import effects
from ml.drift.multivariate import reconstruction_drift
from ml.drift.performance import estimated, realised
from ml.drift.univariate import FeatureDrift, check_feature, hold_down_false_discoveries


def series(seed: int, days: int) -> np.ndarray:
    """Hourly AR(1), φ = 0.9, deviation 1."""
    noise = np.random.default_rng(seed).standard_normal(days * 24 + 200) * np.sqrt(1 - 0.81)
    return coloured(noise, 0.9)[200:]


def test_effects_of_equal_samples_are_nothing() -> None:
    """Forbids an effect size that grows with sample size."""
    reference = np.arange(1000.0)
    found = effects(reference, reference[None])
    assert found.psi[0] == pytest.approx(0.0, abs=1e-9)
    assert found.jensen_shannon[0] == pytest.approx(0.0, abs=1e-6)
    assert found.wasserstein[0] == pytest.approx(0.0, abs=1e-9)


def test_two_sigma_step_is_found_and_autocorrelation_is_not() -> None:
    """Forbids thresholds for independent readings (iid z alarms on most of these windows)."""
    found = [check_feature("s", "f", series(seed, 60), series(seed + 100, 7)) for seed in range(8)]
    assert sum(one.is_drifted for one in found) <= 1
    stepped = [check_feature("s", "f", series(seed, 60), series(seed + 100, 7) + 2.5) for seed in range(8)]
    assert sum(one.is_drifted for one in stepped) >= 7


def test_little_data_says_nothing() -> None:
    """Forbids a verdict on a handful of readings."""
    found = check_feature("s", "f", series(1, 60), series(2, 7)[:10])
    assert not found.is_drifted
    assert "10 in the window" in found.note


def test_false_discoveries_are_held_down() -> None:
    """Forbids that one alarm in fifty tests, of the kind that chance makes, stands."""

    def one(name: str, p_value: float, is_drifted: bool) -> FeatureDrift:
        return FeatureDrift("s", name, {"location": 1.0}, {"location": 0.9}, p_value, 1.0, 168, is_drifted)

    quiet = [one(f"q{index}", 0.5, False) for index in range(49)]
    # Benjamini–Hochberg at 0.1 over 50 asks the smallest p for 0.002.
    assert not any(item.is_drifted for item in hold_down_false_discoveries([one("x", 0.01, True), *quiet]))
    assert any(item.is_drifted for item in hold_down_false_discoveries([one("x", 0.001, True), *quiet]))


def test_broken_relation_is_seen_while_each_feature_stays_in_range() -> None:
    """Forbids looking at features one by one only."""
    rng = np.random.default_rng(3)
    load = rng.standard_normal(60 * 24)
    usual = np.stack([load + 0.2 * rng.standard_normal(60 * 24) for _ in range(3)], axis=1)
    same, broken = usual[-168:], rng.standard_normal((168, 3))
    assert not reconstruction_drift(usual[:-168], same).is_drifted
    assert reconstruction_drift(usual[:-168], broken).is_drifted


def test_estimate_meets_what_happens_when_probabilities_are_true() -> None:
    """Forbids an estimate that calibrated probabilities would not bear out."""
    rng = np.random.default_rng(4)
    probability = rng.beta(1, 4, 20_000)
    is_failure = rng.random(20_000) < probability
    promise, fact = estimated(probability, 0.5), realised(probability, is_failure, 0.5)
    assert promise.precision == pytest.approx(fact.precision, abs=0.05)
    assert promise.recall == pytest.approx(fact.recall, abs=0.05)
