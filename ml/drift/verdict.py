"""The verdict: what a change is, by ordered rules over measured evidence, before anything is retrained.

First whether a sensor is broken, then whether the machine is run otherwise, then whether the model is
wrong; a change without harm is recorded. Add evidence in its own module, then a rule here with its
scenario. Avoid actions: the monitor takes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from ml.drift.label_evidence import (
    CONCEPT_Z,
    LabelEvidence,
    ScoredLabels,
    daily_scores,
    weigh_labels,
    without_sensors,
)
from ml.drift.shifts import LATE_DAYS, SharedShift, Shift, farthest_level, measure_shared, measure_shifts
from ml.validation.peer_signs import expect_from_peers, peer_signs
from ml.validation.readings import Readings, nan_median
from ml.validation.sensor_faults import Problem, Sign, own_signs

# From here on one verdict is enough to retrain; a weaker one has to be said twice. A model that is asked
# every week contradicts itself by chance, or for being learned from little, several times a year.
CLEAR_Z = 3.2
# In reference deviations: a single sensor that far from its own level, with the others at theirs.
ISOLATED_SIZE, ISOLATED_Z, QUIET_SIZE, QUIET_SHARE = 3.2, 4.0, 1.5, 0.3
# And further than that sensor has been for as long in the reference, by this factor.
UNSEEN = 1.25
# Several sensors at once need less each; one of them must be beyond doubt.
MODE_Z, JOINT_Z, MODE_SIZE = 3.4, 2.6, 0.5
SHIFT_Z, SHIFT_SIZE = 3.7, 1.0
SCORE_Z, SCORE_SIZE, HINT_Z = 4.0, 0.15, 2.5
# A move of the scores alone, with sensors and outcomes as usual, is told from this size on.
TOLD_SCORE_SIZE = 0.35
# Share of a move that must be the sensor's own, where others explain this share of its variance.
OWN_SHARE, FOLLOWS = 0.5, 0.35
RAMP_GAIN = 1.08
SUSPECTED, SUSPECT_SIZE, SUSPECT_Z = 0.85, 0.9, 3.0


class Verdict(StrEnum):
    """What a change is."""

    NO_DRIFT = "NO_DRIFT"
    SENSOR_FAULT = "SENSOR_FAULT"
    OPERATING_MODE = "OPERATING_MODE"
    BENIGN = "BENIGN"
    CONCEPT = "CONCEPT"
    NOT_ENOUGH_LABELS = "NOT_ENOUGH_LABELS"


ACTIONS: Mapping[Verdict, str] = {
    Verdict.NO_DRIFT: "nothing to do",
    Verdict.SENSOR_FAULT: "quarantine the sensor and open an alert; no retraining",
    Verdict.OPERATING_MODE: "compare with a reference from the new mode; no retraining",
    Verdict.BENIGN: "recorded; the model still tells the truth",
    Verdict.CONCEPT: "train a challenger; it must win on the drifted rows and not lose elsewhere",
    Verdict.NOT_ENOUGH_LABELS: "wait: too few outcomes are known to tell; asked again when more are mature",
}


@dataclass(frozen=True)
class Judgement:
    """A verdict with what it rests on.

    Attributes:
        verdict: What the change is.
        metrics: Sensors that it is about; empty where it is about the whole machine or the model.
        reason: In one sentence.
        evidence: Figures by name, plain values.
    """

    verdict: Verdict
    metrics: tuple[str, ...]
    reason: str
    evidence: Mapping[str, Any]

    @property
    def action(self) -> str:
        """What follows from it."""
        return ACTIONS[self.verdict]

    @property
    def is_clear(self) -> bool:
        """Whether a CONCEPT verdict asks for a training by itself, without having been said before."""
        return bool(self.evidence.get("is_clear", True))


@dataclass(frozen=True)
class _Evidence:
    readings: Readings
    signs: list[Sign]
    shift: Shift
    shared: SharedShift
    score: Shift | None
    beside: Shift | None
    labels: LabelEvidence | None


def judge(readings: Readings, scored: ScoredLabels | None) -> Judgement:
    """Say what happened between reference and window.

    Args:
        readings: One machine's sensors; reference first.
        scored: Matured outcomes with their scores; None where no model scores this machine.
    """
    found = _gather(readings, scored)
    rules = (_broken_sensor, _concept, _mode, _suspected_sensor, _harmless, _waiting)
    for rule in rules:
        judgement = rule(found)
        if judgement is not None:
            return judgement
    return _said(found, Verdict.NO_DRIFT, (), "readings, scores and outcomes are as in the reference")


def _gather(readings: Readings, scored: ScoredLabels | None) -> _Evidence:
    daily = readings.daily
    shift = measure_shifts(daily, readings.reference_days)
    score = beside = None
    if scored is not None:
        scores = daily_scores(scored, len(daily))
        score = measure_shifts(scores, readings.reference_days)
        beside = measure_shifts(
            without_sensors(scores, daily, readings.reference_days), readings.reference_days
        )
    return _Evidence(
        readings=readings,
        signs=sorted([*own_signs(readings), *peer_signs(readings)], key=lambda sign: -sign.strength),
        shift=shift,
        shared=measure_shared(daily, readings.reference_days, shift),
        score=score,
        beside=beside,
        labels=None if scored is None else weigh_labels(scored),
    )


def _broken_sensor(found: _Evidence) -> Judgement | None:
    broken = [sign for sign in found.signs if sign.strength >= 1.0]
    if broken:
        chosen = broken[0]
        names = tuple(dict.fromkeys(sign.metric for sign in broken if sign.metric))
        return _said(found, Verdict.SENSOR_FAULT, names, f"{_name(chosen.metric)}: {chosen.words}")
    shift = found.shift
    both = ((shift.size, shift.z, found.readings.window_days), (shift.late_size, shift.late_z, LATE_DAYS))
    for sizes, z, days in both:
        alone = int(np.argmax(np.abs(sizes)))
        size, others = abs(float(sizes[alone])), np.delete(np.abs(sizes), alone)
        is_quiet = len(others) > 0 and float(others.max()) < max(QUIET_SIZE, QUIET_SHARE * size)
        farthest = UNSEEN * farthest_level(found.readings.daily[: found.readings.reference_days, alone], days)
        if size > max(ISOLATED_SIZE, farthest) and abs(z[alone]) > ISOLATED_Z and is_quiet:
            metric = found.readings.metrics[alone]
            words = f"{size:.1f} deviations from its level while the other sensors are at theirs"
            return _said(found, Verdict.SENSOR_FAULT, (metric,), f"{metric}: {words}")
    return None


def _mode(found: _Evidence) -> Judgement | None:
    sizes = np.abs(found.shift.size)
    needed = min(3, len(found.readings.metrics))
    gains = found.shift.ramp_gain[sizes > MODE_SIZE]
    is_ramp = len(gains) > 0 and float(np.median(gains)) > RAMP_GAIN
    # A slow ramp is in the reference too, and widens what counts as usual there.
    z = np.abs(found.shift.z if is_ramp else found.shift.steady_z)
    moved = int(((z > JOINT_Z) & (sizes > MODE_SIZE)).sum()) if z.max(initial=0.0) > MODE_Z else 0
    if moved < needed:
        return None
    if is_ramp:
        return _settled(found, "all sensors drift slowly since before the window, as a season does")
    return _said(
        found,
        Verdict.OPERATING_MODE,
        (),
        f"{moved} sensors moved together: the machine is run otherwise",
    )


def _concept(found: _Evidence) -> Judgement | None:
    labels = found.labels
    if labels is None or not _contradicts(labels) or _suspects(found):
        return None
    more = "more" if labels.level_z > 0 else "fewer"
    words = (
        f"{more} failures than said (z {labels.level_z:+.1f})"
        if abs(labels.level_z) >= abs(labels.slope_z)
        else f"higher scores no longer mean what they did (z of the slope {labels.slope_z:+.1f})"
    )
    judgement = _said(found, Verdict.CONCEPT, (), f"{words}, and no sensor explains it")
    is_clear = labels.strength >= CLEAR_Z
    return replace(judgement, evidence={**judgement.evidence, "is_clear": is_clear})


def _contradicts(labels: LabelEvidence) -> bool:
    # The score test's tail is too light with a handful of outcomes: they must say it louder.
    return labels.strength >= (CONCEPT_Z if labels.is_enough else CONCEPT_Z + 0.8)


def _suspected_sensor(found: _Evidence) -> Judgement | None:
    """Wrong predictions with a sensor under suspicion are the sensor's until it is cleared."""
    suspects = _suspects(found)
    if not suspects or found.labels is None or not _contradicts(found.labels):
        return None
    words = f"{', '.join(map(_name, suspects))} looks wrong and so do the predictions"
    return _said(found, Verdict.SENSOR_FAULT, tuple(name for name in suspects if name), words)


def _suspects(found: _Evidence) -> tuple[str, ...]:
    """Sensors that may be wrong: a sign nearly as strong as a fault's, or a move that others do not join."""
    shift = found.shift
    names = [sign.metric for sign in found.signs if sign.strength >= SUSPECTED]
    has_moved = (np.abs(shift.size) > SUSPECT_SIZE) & (np.abs(shift.steady_z) > SUSPECT_Z)
    has_moved |= (np.abs(shift.late_size) > 1.7 * SUSPECT_SIZE) & (np.abs(shift.late_z) > SUSPECT_Z)
    if has_moved.sum() < min(3, len(found.readings.metrics)):
        names += [found.readings.metrics[int(column)] for column in np.flatnonzero(has_moved)]
    return tuple(dict.fromkeys(names))


def _harmless(found: _Evidence) -> Judgement | None:
    sizes = np.abs(found.shift.size)
    has_shifted = (np.abs(found.shift.steady_z) > SHIFT_Z) & (sizes > SHIFT_SIZE)
    if has_shifted.any():
        # A load a little higher moves the sensors that follow it as they always do.
        has_shifted &= np.abs(_unexplained(found.readings)) > OWN_SHARE * sizes
    shifted = [found.readings.metrics[int(column)] for column in np.flatnonzero(has_shifted)]
    score = found.beside
    score_moved = score is not None and abs(score.z[0]) > SCORE_Z and abs(score.size[0]) > TOLD_SCORE_SIZE
    if shifted:
        return _settled(found, f"{', '.join(shifted)} moved a little")
    if score is not None and score_moved:
        return _settled(found, f"the scores moved ({score.z[0]:+.1f} z) beyond what the sensors explain")
    return None


def _unexplained(readings: Readings) -> np.ndarray:
    """Shift of each sensor's level beyond what the other sensors explain, in reference deviations."""
    expected = expect_from_peers(readings)
    split = readings.reference_steps
    followed = nan_median(expected.values[split:], axis=0) - nan_median(expected.values[:split], axis=0)
    level = nan_median(readings.centred[split:], axis=0) - nan_median(readings.centred[:split], axis=0)
    follows = expected.explained > FOLLOWS
    return np.nan_to_num(level) - np.where(follows, np.nan_to_num(followed), 0.0)


def _settled(found: _Evidence, what: str) -> Judgement:
    """A change whose harm only outcomes can show: harmless if they are enough and agree."""
    labels = found.labels
    matters = any(
        score is not None and abs(score.z[0]) > 3.0 and abs(score.size[0]) > SCORE_SIZE
        for score in (found.score, found.beside)
    )
    if labels is not None and matters and not labels.is_enough:
        words = f"{what}; {labels.labels} mature outcomes are too few to tell (power {labels.power:.0%})"
        return _said(found, Verdict.NOT_ENOUGH_LABELS, (), words)
    return _said(found, Verdict.BENIGN, (), f"{what}; outcomes agree with the predictions")


def _waiting(found: _Evidence) -> Judgement | None:
    labels = found.labels
    if labels is None or labels.is_enough:
        return None
    # One of fifty quiet series hints this much by chance, so the scores must have moved too.
    has_moved = any(
        score is not None and abs(float(score.z[0])) > HINT_Z for score in (found.score, found.beside)
    )
    if labels.strength < CONCEPT_Z + (-0.4 if has_moved else 0.6):
        return None
    words = f"{labels.labels} mature outcomes hint at a wrong model (z {labels.strength:.1f}) and are too few"
    return _said(found, Verdict.NOT_ENOUGH_LABELS, (), words)


def _said(found: _Evidence, verdict: Verdict, metrics: tuple[str, ...], reason: str) -> Judgement:
    labels, score = found.labels, found.score
    evidence: dict[str, Any] = {
        "reason": reason,
        "signs": [
            {"metric": sign.metric, "problem": str(sign.problem), "strength": round(sign.strength, 3)}
            for sign in found.signs[:5]
        ],
        "shift_z": _rounded(found.readings.metrics, found.shift.z),
        "shift_size": _rounded(found.readings.metrics, found.shift.size),
        "shared_z": round(found.shared.z, 3),
        "sensors_moved": found.shared.moved,
    }
    if score is not None:
        evidence["score_z"] = round(float(score.z[0]), 3)
    if labels is not None:
        evidence["labels"] = {
            "mature": labels.labels,
            "level_z": round(labels.level_z, 3),
            "slope_z": round(labels.slope_z, 3),
            "log_odds": round(labels.log_odds, 3),
            "power": round(labels.power, 3),
        }
    return Judgement(verdict, metrics, reason, evidence)


def _rounded(names: tuple[str, ...], values: np.ndarray) -> dict[str, float]:
    return {name: round(float(value), 3) for name, value in zip(names, values, strict=True)}


def _name(metric: str) -> str:
    return metric or "the machine's clock"


__all__ = ["ACTIONS", "Judgement", "Problem", "Verdict", "judge"]
