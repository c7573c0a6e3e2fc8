"""Signs that a sensor, and not the machine, has changed: one sensor against its reference and its peers.

Every statistic is a ratio to the value from which it counts as a fault, so that 1 is found and 0.5 is
suspected. Add a kind of fault here with its scenario. Avoid decisions: grades and verdicts make them.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ml.validation.readings import Readings, nan_median

# Values from which a sign counts; found on development seeds of the scenario bank.
LONGEST_EQUAL_RUN = 12
# A sensor that repeats itself this often does so for longer at another level, too.
COARSE_REPEATS, LONGEST_EQUAL_RUN_OF_COARSE = 0.1, 18
MISSING_SHARE = 0.15
SPIKE_SHARE = 0.012
FLAT_RATIO = 0.25
NOISE_RATIO = 2.2
RANGE_SHARE = 0.01
CLIPPED_SHARE = 0.10
DUPLICATE_CORRELATION = 0.985
_FEWEST_JUMPS = 20


class Problem(StrEnum):
    """How a sensor is wrong."""

    STUCK = "stuck"
    MISSING = "missing"
    SPIKES = "spikes"
    FLAT = "low variance"
    NOISY = "noisy"
    OUT_OF_RANGE = "out of range"
    CLIPPED = "clipped"
    COARSE = "coarse steps"
    DUPLICATE = "duplicate of another"
    CLOCK = "clock skew"
    OFFSET = "offset or unit"


@dataclass(frozen=True)
class Sign:
    """One sign of a fault.

    Attributes:
        metric: The sensor; empty where all sensors of the machine share it.
        problem: What it looks like.
        strength: Ratio to the value from which it counts: 1 or more is found.
        words: The figure in words.
    """

    metric: str
    problem: Problem
    strength: float
    words: str


def own_signs(readings: Readings) -> list[Sign]:
    """Signs that one sensor's own values show; strengths below 0.5 are left out."""
    activity = _activity(readings)
    found = _spikes(readings, activity)
    for column, metric in enumerate(readings.metrics):
        reference, window = readings.reference[:, column], readings.window[:, column]
        if np.isnan(reference).all():
            continue
        found += [
            _missing(readings, column, metric),
            _stuck(metric, reference, window),
            *_variance(readings, column, metric, activity),
            _range(readings, column, metric),
            _clipped(metric, reference, window),
            _coarse(metric, reference, window),
        ]
    return [sign for sign in found if sign.strength >= 0.5]


def _missing(readings: Readings, column: int, metric: str) -> Sign:
    # Only steps at which the machine was heard at all: a machine that is off has no faulty sensor.
    def share(values: np.ndarray) -> float:
        is_heard = ~np.isnan(values).all(axis=1) if values.shape[1] > 1 else np.ones(len(values), dtype=bool)
        return float(np.isnan(values[is_heard, column]).mean()) if is_heard.any() else 0.0

    lost = share(readings.window) - share(readings.reference)
    return Sign(metric, Problem.MISSING, lost / MISSING_SHARE, f"{lost:.0%} more readings missing than usual")


def _stuck(metric: str, reference: np.ndarray, window: np.ndarray) -> Sign:
    usual, usual_value = _longest_run(reference, without=None)
    # A standing machine reads 0 rpm all weekend: the value that the reference rests at is no fault.
    rest = usual_value if usual >= LONGEST_EQUAL_RUN else None
    usual, _ = _longest_run(reference, without=rest)
    length, value = _longest_run(window, without=rest)
    # A sensor of few steps repeats itself by chance: three times the longest run
    # that its share of repeats makes.
    repeats = _equal_share(reference, rest)
    chance = 3.0 * np.log(max(len(window), 2)) / -np.log(np.clip(repeats, 1e-3, 0.97))
    fewest = LONGEST_EQUAL_RUN if repeats < COARSE_REPEATS else LONGEST_EQUAL_RUN_OF_COARSE
    needed = max(fewest, 2.0 * usual, float(chance))
    held = _equal_share(window, rest) - repeats
    strength = max(length / needed, held / 0.35)
    return Sign(
        metric, Problem.STUCK, strength, f"{length} equal readings of {value:g} in a row (usual {usual})"
    )


def _longest_run(values: np.ndarray, without: float | None) -> tuple[int, float]:
    is_equal = values[1:] == values[:-1]
    if without is not None:
        is_equal &= values[1:] != without
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_equal.astype(np.int8), [0]])))
    if not len(edges):
        return 1, float("nan")
    lengths = edges[1::2] - edges[::2]
    longest = int(np.argmax(lengths))
    return int(lengths[longest]) + 1, float(values[edges[2 * longest]])


def _equal_share(values: np.ndarray, without: float | None) -> float:
    is_counted = ~np.isnan(values[1:]) & ~np.isnan(values[:-1])
    if without is not None:
        is_counted &= values[1:] != without
    return float((values[1:] == values[:-1])[is_counted].mean()) if is_counted.sum() > 10 else 0.0


def _spikes(readings: Readings, activity: np.ndarray) -> list[Sign]:
    split = readings.reference_steps
    usual = np.stack([_jumps(values) for values in readings.values[:split].T])
    found = np.stack([_jumps(values) for values in readings.values[split:].T])
    is_far, stands_out = np.zeros(found.shape, dtype=bool), np.zeros(found.shape, dtype=bool)
    for column, (before, now) in enumerate(zip(usual, found, strict=True)):
        known = before[~np.isnan(before)]
        if len(known) < _FEWEST_JUMPS or (~np.isnan(now)).sum() < _FEWEST_JUMPS:
            continue
        mean, high = float(known.mean()), float(np.quantile(known, 0.999))
        limit = max(6.0 * mean, 1.5 * high) * max(_peers(activity, column), 1.0)
        if limit <= 0:
            limit = 6.0 * float(np.nanstd(readings.reference[:, column])) + 1e-9
        is_far[column] = now > limit
        stands_out[column] = now > max(3.0 * mean, float(np.quantile(known, 0.99)))
    signs: list[Sign] = []
    for column, metric in enumerate(readings.metrics):
        # A machine that stops and starts makes its sensors jump together.
        others = np.delete(stands_out, column, axis=0)
        is_alone = others.mean(axis=0) < 0.5 if len(others) else np.ones(found.shape[1], dtype=bool)
        counted = ~np.isnan(found[column])
        share = float((is_far[column] & is_alone)[counted].mean()) if counted.any() else 0.0
        words = f"{share:.1%} of readings jump and come back"
        signs.append(Sign(metric, Problem.SPIKES, share / SPIKE_SHARE, words))
    return signs


def _jumps(values: np.ndarray) -> np.ndarray:
    """Size by which each reading stands out against both neighbours on the same side, 0 otherwise."""
    before, after = values[1:-1] - values[:-2], values[1:-1] - values[2:]
    size = np.where(before * after > 0, np.minimum(np.abs(before), np.abs(after)), 0.0)
    return np.where(np.isnan(before) | np.isnan(after), np.nan, size)


def _activity(readings: Readings) -> np.ndarray:
    """How much each sensor moves from step to step in the window against the reference, shape (metrics,)."""
    reference, window = np.abs(np.diff(readings.reference, axis=0)), np.abs(np.diff(readings.window, axis=0))
    # Trimmed: a few spikes are another sign.
    with np.errstate(invalid="ignore"):
        usual = np.array([_trimmed(reference[:, column]) for column in range(reference.shape[1])])
        found = np.array([_trimmed(window[:, column]) for column in range(window.shape[1])])
        return np.where(usual > 0, found / np.where(usual > 0, usual, 1.0), np.nan)


def _peers(activity: np.ndarray, column: int) -> float:
    others = np.delete(activity, column)
    others = others[~np.isnan(others)]
    return float(np.median(others)) if len(others) else 1.0


def _trimmed(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    if len(present) < 20:
        return float("nan")
    return float(np.sort(present)[: max(int(0.9 * len(present)), 1)].mean())


def _variance(readings: Readings, column: int, metric: str, activity: np.ndarray) -> list[Sign]:
    own = activity[column]
    if np.isnan(own):
        return []
    # All sensors still together is a machine at rest, all restless a machine at work.
    peers = _peers(activity, column)
    ratio, alone = own / max(peers, 0.2), own
    flat = FLAT_RATIO / max(ratio, alone, 1e-6)
    words = f"moves {own:.2f} times as much from reading to reading as usual (other sensors {peers:.2f})"
    return [
        Sign(metric, Problem.FLAT, min(flat, 10.0), words),
        Sign(metric, Problem.NOISY, min(ratio, alone) / NOISE_RATIO, words),
    ]


def _range(readings: Readings, column: int, metric: str) -> Sign:
    window = readings.window[:, column]
    present = window[~np.isnan(window)]
    low, high = readings.lowest[column], readings.highest[column]
    share = float(((present < low) | (present > high)).mean()) if len(present) else 0.0
    return Sign(
        metric,
        Problem.OUT_OF_RANGE,
        share / RANGE_SHARE,
        f"{share:.1%} of readings outside {low:g} to {high:g}",
    )


def _clipped(metric: str, reference: np.ndarray, window: np.ndarray) -> Sign:
    top, next_to_it = _share_at_edge(window)
    # A sensor of few steps sits at its last one as often as at the one beside it.
    found = top - 2 * max(_share_at_edge(reference)[0], next_to_it)
    return Sign(
        metric, Problem.CLIPPED, found / CLIPPED_SHARE, f"{top:.0%} of readings sit at one extreme value"
    )


def _share_at_edge(values: np.ndarray) -> tuple[float, float]:
    """Share of readings at the most extreme value, and at the value beside it."""
    present = values[~np.isnan(values)]
    if len(present) < 20:
        return 0.0, 0.0
    _, counts = np.unique(present, return_counts=True)
    if len(counts) < 2:
        return 1.0, 0.0
    edges = ((counts[-1], counts[-2]), (counts[0], counts[1]))
    top, next_to_it = max(edges)
    return float(top) / len(present), float(next_to_it) / len(present)


def _coarse(metric: str, reference: np.ndarray, window: np.ndarray) -> Sign:
    present = window[~np.isnan(window)]
    usual = reference[~np.isnan(reference)]
    if len(present) < 50 or len(usual) < len(present):
        return Sign(metric, Problem.COARSE, 0.0, "")
    distinct, before = len(np.unique(present)), len(np.unique(usual[-len(present) :]))
    strength = 0.2 * before / max(distinct, 1) if before > 20 else 0.0
    return Sign(metric, Problem.COARSE, min(strength, 5.0), f"{distinct} different values (usual {before})")


def level(readings: Readings, last_days: int | None = None) -> np.ndarray:
    """Median of the window's days against the reference, in reference deviations, shape (metrics,)."""
    days = readings.daily[readings.reference_days :]
    return nan_median(days if last_days is None else days[-last_days:], axis=0)
