"""Does the model still tell the truth? Matured labels against what was said, window against reference.

Score tests of the calibration's level and slope (Cox 1958), with deviations over clusters, since the
hours before one failure are one observation. Avoid labels that are not mature: leave them out before.
"""

from dataclasses import dataclass

import numpy as np

# A change of the odds by a factor of 2 is what a retrain is worth. Labels that would show it less often
# than this say nothing by their silence.
WORTHWHILE_LOG_ODDS = 0.7
# What every model is off by, being learned from finite data: no number of outcomes makes it a finding.
NEGLIGIBLE_LOG_ODDS = 0.2
ENOUGH_POWER = 0.35
CONCEPT_Z = 2.35
_CLIP = 1e-4
_RIDGE = 0.05
_LONGEST_STEP = 0.7


@dataclass(frozen=True)
class ScoredLabels:
    """Scores, and their outcomes as far as they are mature.

    Attributes:
        probability: What was said, shape (rows,).
        is_failure: What happened, shape (rows,), bool; read where mature.
        is_mature: Whether the outcome can be known yet, shape (rows,), bool.
        in_window: Whether a row belongs to the window, shape (rows,), bool; the rest is the reference.
        cluster: Rows that share their outcome have the same number, shape (rows,).
        day: Day of each row, for the score's own shift; shape (rows,), integers from 0.
    """

    probability: np.ndarray
    is_failure: np.ndarray
    is_mature: np.ndarray
    in_window: np.ndarray
    cluster: np.ndarray
    day: np.ndarray


@dataclass(frozen=True)
class LabelEvidence:
    """What matured labels say.

    Attributes:
        labels: Labels of the window.
        level_z: More (positive) or fewer failures than said, beyond what the reference already had and
            beyond a negligible change of the odds.
        slope_z: Higher scores mean more (positive) or less than they did, likewise.
        log_odds: Estimated change of the log odds in the window.
        power: Chance of finding a doubling of the odds with these labels, 0 to 1.
    """

    labels: int
    level_z: float
    slope_z: float
    log_odds: float
    power: float

    @property
    def strength(self) -> float:
        """The larger of both |z|."""
        return max(abs(self.level_z), abs(self.slope_z))

    @property
    def is_enough(self) -> bool:
        """Whether silence of these labels says anything."""
        return self.power >= ENOUGH_POWER


def weigh_labels(scored: ScoredLabels) -> LabelEvidence:
    """Test the window's labels against the model as the reference's labels correct it."""
    window, reference = scored.in_window & scored.is_mature, ~scored.in_window & scored.is_mature
    if not window.any():
        return LabelEvidence(0, 0.0, 0.0, 0.0, 0.0)
    log_odds = _logit(scored.probability)
    centre = float(log_odds[reference].mean()) if reference.any() else 0.0
    intercept, slope, spread = _recalibrated(scored, log_odds - centre, reference)
    said = _sigmoid(intercept + slope * (log_odds - centre))
    wrong = scored.is_failure[window] - said[window]
    weight = said[window] * (1.0 - said[window])
    clusters = scored.cluster[window]
    information = float(weight.sum())
    level_z = _score_z(wrong, np.ones(len(wrong)), weight, clusters, spread)
    lean = (log_odds - centre)[window]
    lean = lean - float((weight * lean).sum() / max(information, 1e-9))
    slope_z = _score_z(wrong, lean, weight, clusters, 0.0)
    inflation = _inflation(wrong, weight, clusters)
    reachable = (WORTHWHILE_LOG_ODDS - NEGLIGIBLE_LOG_ODDS) * np.sqrt(information / inflation) - CONCEPT_Z
    return LabelEvidence(
        labels=int(window.sum()),
        level_z=level_z,
        slope_z=slope_z,
        log_odds=float(wrong.sum()) / max(information, 1e-9),
        power=float(_normal_cdf(reachable)),
    )


def daily_scores(scored: ScoredLabels, days: int) -> np.ndarray:
    """Mean log odds of each day, in deviations over single rows, shape (days, 1); NaN without rows."""
    log_odds = _logit(scored.probability)
    reference = log_odds[~scored.in_window]
    spread = float(reference.std()) if len(reference) > 1 else 1.0
    sums = np.bincount(scored.day, weights=log_odds, minlength=days)[:days]
    counts = np.bincount(scored.day, minlength=days)[:days]
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return (means / max(spread, 1e-9))[:, None]


def without_sensors(scores: np.ndarray, daily: np.ndarray, reference_days: int) -> np.ndarray:
    """Daily scores without what the daily sensor levels explain of them (ridge on the reference).

    Args:
        scores: Shape (days, 1).
        daily: Sensor levels, shape (days, metrics).
        reference_days: Days that the relation is fitted on.
    """
    x: np.ndarray = np.nan_to_num(np.clip(daily, -4, 4))
    x = x - x[:reference_days].mean(axis=0)
    y: np.ndarray = np.nan_to_num(scores[:, 0] - np.nanmean(scores[:reference_days, 0]))
    fitted = x[:reference_days]
    gram = fitted.T @ fitted + _RIDGE * reference_days * np.eye(x.shape[1])
    weights = np.asarray(np.linalg.solve(gram, fitted.T @ y[:reference_days]), dtype=np.float64)
    left = np.asarray(y - x @ weights, dtype=np.float64)
    return np.where(np.isnan(scores[:, 0]), np.nan, left)[:, None]


def _recalibrated(
    scored: ScoredLabels, lean: np.ndarray, reference: np.ndarray
) -> tuple[float, float, float]:
    """Intercept and slope that the reference's labels ask for, and the intercept's variance."""
    centre = float(_logit(scored.probability)[reference].mean()) if reference.any() else 0.0
    failures = int(scored.is_failure[reference].sum())
    intercept, slope = centre, 1.0
    if min(failures, int(reference.sum()) - failures) < 10:
        return intercept, slope, 0.0
    x, y = lean[reference], scored.is_failure[reference].astype(np.float64)
    hessian = np.eye(2)
    for _ in range(25):
        said = _sigmoid(intercept + slope * x)
        weight = np.maximum(said * (1 - said), 1e-9)
        # A weak pull towards the model as it stands: slope 1.
        gradient = np.array([(y - said).sum(), ((y - said) * x).sum() - 4.0 * (slope - 1.0)])
        hessian = np.array(
            [[weight.sum(), (weight * x).sum()], [(weight * x).sum(), (weight * x * x).sum() + 4.0]]
        )
        # A full step overshoots where the scores lean the wrong way, and never comes back.
        step = np.clip(np.linalg.solve(hessian, gradient), -_LONGEST_STEP, _LONGEST_STEP)
        intercept, slope = intercept + float(step[0]), slope + float(step[1])
    return intercept, slope, float(np.linalg.inv(hessian)[0, 0])


def _score_z(
    wrong: np.ndarray, lean: np.ndarray, weight: np.ndarray, clusters: np.ndarray, reference_variance: float
) -> float:
    information = float((weight * lean * lean).sum())
    variance = information * _inflation(wrong * lean, weight * lean * lean, clusters)
    # What the reference does not know about its own level widens the difference.
    variance += information**2 * reference_variance
    found = float((wrong * lean).sum())
    beyond = max(abs(found) - NEGLIGIBLE_LOG_ODDS * information, 0.0)
    return float(np.copysign(beyond, found) / np.sqrt(variance)) if variance > 0 else 0.0


def _inflation(wrong: np.ndarray, weight: np.ndarray, clusters: np.ndarray) -> float:
    """How much larger the variance of cluster sums is than that of independent rows; at least 1."""
    _, index = np.unique(clusters, return_inverse=True)
    if index.max(initial=-1) + 1 == len(wrong):
        return 1.0
    sums = np.bincount(index, weights=wrong)
    return max(float((sums**2).sum()) / max(float(weight.sum()), 1e-9), 1.0)


def _logit(probability: np.ndarray) -> np.ndarray:
    kept = np.clip(probability, _CLIP, 1.0 - _CLIP)
    return np.log(kept / (1.0 - kept))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(values, -30, 30)))


def _normal_cdf(value: float) -> float:
    from math import erf, sqrt

    return 0.5 * (1.0 + erf(value / sqrt(2.0)))
