"""What matured outcomes say about a model, on outcomes drawn from known odds."""

import numpy as np

from ml.drift.label_evidence import CONCEPT_Z, ScoredLabels, weigh_labels

DAYS, PER_DAY, WINDOW = 55, 40, 10


def scored(log_odds: float = 0.0, slope: float = 1.0, from_day: int = 45, seed: int = 3) -> ScoredLabels:
    """55 days of 40 mature outcomes a day; from a day on they follow other odds than was said."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(DAYS), PER_DAY)
    said = -1.4 + rng.standard_normal(len(day))
    true = np.where(day >= from_day, -1.4 + slope * (said + 1.4) + log_odds, said)
    return ScoredLabels(
        probability=1 / (1 + np.exp(-said)),
        is_failure=rng.random(len(day)) < 1 / (1 + np.exp(-true)),
        is_mature=np.ones(len(day), dtype=bool),
        in_window=day >= DAYS - WINDOW,
        cluster=np.arange(len(day)),
        day=day,
    )


def test_a_doubling_of_the_odds_is_found_and_a_tenth_is_not() -> None:
    """Forbids alarms that follow the number of outcomes: odds of 1.1 are never worth a retraining.

    400 outcomes at a rate of 0.25 hold some 65 units of information: log odds of 0.7 less the negligible
    0.2 are 0.5 * sqrt(65) = 4 deviations, log odds of 0.1 are none.
    """
    assert weigh_labels(scored(log_odds=0.9)).level_z > CONCEPT_Z
    small = [abs(weigh_labels(scored(log_odds=0.1, seed=seed)).level_z) for seed in range(20)]
    assert max(small) < CONCEPT_Z


def test_reversed_scores_are_found_after_a_reference_of_reversed_scores_too() -> None:
    """Forbids a recalibration that diverges: the reference's slope is -1, and the evidence stays finite.

    A full Newton step from slope 1 overshoots here; its saturated probabilities leave no information, and
    a wrong model was never seen again.
    """
    evidence = weigh_labels(scored(slope=-1.0, from_day=0))
    assert abs(evidence.level_z) < CONCEPT_Z
    assert abs(evidence.slope_z) < CONCEPT_Z
    assert evidence.power > 0.5
    assert weigh_labels(scored(slope=-1.0)).slope_z < -CONCEPT_Z
