"""A simulated year of one model under four retraining policies: what each costs, what each gains.

Concepts change, sensors break, products change; outcomes mature two days later. All policies use the
same trainer. Avoid verdict rules here: the year asks `judge` as the monitor does.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from ml.drift.inline import DRIFT_Z
from ml.drift.label_evidence import ScoredLabels
from ml.drift.ledger import SAID_AGAIN
from ml.drift.scenarios.plant_year import DAYS, FIRST_DAY, ROWS_PER_DAY, SENSORS, Year, draw_year
from ml.drift.verdict import Verdict, judge
from ml.validation.readings import Readings, nan_median

REFERENCE, WINDOW, CHECK_EVERY, MATURITY = 45, 10, 7, 2
SHORTEST_REFERENCE = 21
_TRAINING_DAYS = 60
_RIDGE = 3.0
_FOUND_WITHIN = 35
_HELD_OUT = 3
_AGAIN_AFTER = 25


class Policy(StrEnum):
    """When to retrain."""

    VERDICT = "verdict"
    ALWAYS = "retrain_always"
    ON_Z = "retrain_on_z"
    NEVER = "never"


@dataclass(frozen=True)
class PolicyYear:
    """What one policy did in one year.

    Attributes:
        policy: Which.
        log_loss: Mean over all rows of the year, what was served at that time.
        retrains: Trainings, the second ones on a month of the new meaning included.
        triggers: Trainings that were asked for by a verdict, a rule or the calendar.
        useful: Triggers after a real change of concept that had not been answered yet.
        changes: Real changes of concept.
        answered: Changes with a training within five weeks.
    """

    policy: Policy
    log_loss: float
    retrains: int
    triggers: int
    useful: int
    changes: int
    answered: int

    @property
    def precision(self) -> float:
        """Share of triggers that were useful; 1 without any."""
        return self.useful / self.triggers if self.triggers else 1.0

    @property
    def recall(self) -> float:
        """Share of changes that were answered."""
        return self.answered / self.changes if self.changes else 1.0


@dataclass
class _Masked:
    """A sensor in quarantine, read at its usual level; `until` is None while it lasts."""

    column: int
    since: int
    level: float
    until: int | None = None

    def holds(self, day: int) -> bool:
        """Whether the sensor is not read on a day."""
        return day >= self.since and (self.until is None or day < self.until)


@dataclass
class _Served:
    weights: np.ndarray
    since: int = 0
    masked: list[_Masked] = field(default_factory=list["_Masked"])
    again_on: int = -1
    accused_on: int = -1000


def simulate_year(seed: int, policy: Policy) -> PolicyYear:
    """Run one year under one policy; the same seed gives the same year to all."""
    year = draw_year(seed)
    served = _Served(_fit(year, range(FIRST_DAY), None, []))
    losses: list[float] = []
    trained: list[int] = []
    followed: list[int] = []
    for day in range(FIRST_DAY, DAYS):
        losses.append(_loss(served.weights, _features(year, day, served.masked), year.outcome[day]))
        if day == served.again_on:
            # The challenger won on ten days; it is trained once more when the new meaning has a month.
            followed.append(day)
            served.weights = _fit(year, range(served.since, day - MATURITY), None, served.masked)
        elif day % CHECK_EVERY == 0 and _wants(policy, year, served, day):
            since = day - WINDOW - MATURITY if policy is Policy.VERDICT else day - _TRAINING_DAYS
            known = range(max(since, 0), day - MATURITY)
            trained.append(day)
            if policy is not Policy.VERDICT or _wins(year, served, known):
                prior = served.weights if policy is Policy.VERDICT else None
                served.weights = _fit(year, known, prior, served.masked)
                served.since = known.start
                served.again_on = day + _AGAIN_AFTER if policy is Policy.VERDICT else -1
    return _graded(policy, float(np.mean(losses)), trained, len(followed), year.changes)


def _graded(
    policy: Policy, log_loss: float, trained: list[int], followed: int, changes: list[int]
) -> PolicyYear:
    # A change may be learned in two steps: the first training sees only its first days.
    useful = sum(any(0 < day - change <= _FOUND_WITHIN for change in changes) for day in trained)
    answered = sum(any(0 < day - change <= _FOUND_WITHIN for day in trained) for change in changes)
    return PolicyYear(policy, log_loss, len(trained) + followed, len(trained), useful, len(changes), answered)


def _wants(policy: Policy, year: Year, served: _Served, day: int) -> bool:
    match policy:
        case Policy.NEVER:
            return False
        case Policy.ALWAYS:
            return True
        case Policy.ON_Z:
            hours = year.reported[(day - REFERENCE - WINDOW) * 24 : day * 24]
            usual, now = hours[: REFERENCE * 24], hours[-WINDOW * 24 :]
            # z of the batch mean as it is usually written: with the batch's standard error.
            error = usual.std(axis=0) / np.sqrt(len(now))
            return bool((np.abs(now.mean(axis=0) - usual.mean(axis=0)) / error > DRIFT_Z).any())
        case Policy.VERDICT:
            return _verdict(year, served, day)


def _wins(year: Year, served: _Served, known: range) -> bool:
    """Whether a challenger beats the champion on the last days of the drifted slice, unseen by it."""
    challenger = _fit(year, known[:-_HELD_OUT], served.weights, served.masked)
    held_out = known[-_HELD_OUT:]
    rows = np.concatenate([_features(year, day, served.masked) for day in held_out])
    outcome = year.outcome[np.array(held_out)].reshape(-1)
    return _loss(challenger, rows, outcome) < _loss(served.weights, rows, outcome)


def _verdict(year: Year, served: _Served, day: int) -> bool:
    """Judge the sensors, put broken ones out of use, then judge the model on what is left of them."""
    begin = max(day - REFERENCE - WINDOW, 0)
    readings = _known_readings(year, served, begin, day)
    sensors = judge(readings, None)
    is_broken = sensors.verdict is Verdict.SENSOR_FAULT
    _quarantine(served, readings, sensors.metrics if is_broken else (), day)
    # Like with like: a sensor that was out of use in the window is left out of the reference's scores too.
    out_of_use = [one for one in served.masked if one.until is None or one.until > day - WINDOW]
    throughout = [*served.masked, *(replace(one, since=begin, until=None) for one in out_of_use)]
    days = np.arange(begin, day)
    scored = np.concatenate([_features(year, int(each), throughout) for each in days])
    at = np.repeat(days, ROWS_PER_DAY)
    labels = ScoredLabels(
        probability=_probability(served.weights, scored),
        is_failure=year.outcome[days].reshape(-1).astype(bool),
        # Outcomes from before the training's rows belong to an earlier meaning.
        is_mature=(at >= served.since) & (at < day - MATURITY),
        in_window=at >= day - WINDOW,
        cluster=np.arange(len(at)),
        day=at - begin,
    )
    sound = [column for column in range(SENSORS) if all(one.column != column for one in out_of_use)]
    if not sound:
        return False
    found = judge(_columns(readings, sound), labels)
    if found.verdict is not Verdict.CONCEPT:
        return False
    asks = found.is_clear or day - served.accused_on <= SAID_AGAIN.days
    served.accused_on = day
    return asks


def _known_readings(year: Year, served: _Served, begin: int, day: int) -> Readings:
    """Reference and window; what a sensor in quarantine said is no reference."""
    values = year.reported[begin * 24 : day * 24].copy()
    for one in served.masked:
        until = day - WINDOW if one.until is None else min(one.until, day - WINDOW)
        sound = values[: (day - WINDOW - begin) * 24, one.column].copy()
        sound[max(one.since - begin, 0) * 24 : max(until - begin, 0) * 24] = np.nan
        # A sensor that has been out of use for weeks has nothing older left to be compared with.
        if np.isfinite(sound).sum() >= SHORTEST_REFERENCE * 24:
            values[: len(sound), one.column] = sound
    return Readings(
        metrics=tuple(f"sensor_{column}" for column in range(SENSORS)),
        values=values,
        reference_steps=(day - WINDOW - begin) * 24,
        steps_per_day=24,
        lowest=np.full(SENSORS, -np.inf),
        highest=np.full(SENSORS, np.inf),
    )


def _columns(readings: Readings, chosen: list[int]) -> Readings:
    return replace(
        readings,
        metrics=tuple(readings.metrics[column] for column in chosen),
        values=readings.values[:, chosen],
        lowest=readings.lowest[chosen],
        highest=readings.highest[chosen],
    )


def _quarantine(served: _Served, readings: Readings, metrics: tuple[str, ...], day: int) -> None:
    broken = [int(name.split("_")[1]) for name in metrics]
    held = [one for one in served.masked if one.until is None]
    for one in held:
        one.until = None if one.column in broken else day
    for column in broken:
        if all(one.column != column for one in held):
            usual = nan_median(readings.reference[-WINDOW * 24 :, column], axis=0)
            served.masked.append(_Masked(column, day - WINDOW, float(np.nan_to_num(usual))))


def _features(year: Year, day: int, masked: list[_Masked]) -> np.ndarray:
    rows = year.rows[day]
    if not masked:
        return rows
    kept = rows.copy()
    for one in masked:
        if one.holds(day):
            kept[:, one.column] = one.level
    return kept


def _fit(year: Year, days: range, prior: np.ndarray | None, masked: list[_Masked]) -> np.ndarray:
    """Logistic regression with a ridge towards the champion where there is one."""
    x = np.concatenate([_features(year, day, masked) for day in days])
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    y = year.outcome[np.array(days)].reshape(-1)
    weights = np.zeros(x.shape[1]) if prior is None else prior.copy()
    centre = weights.copy()
    for _ in range(25):
        said = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (y - said) - _RIDGE * (weights - centre)
        hessian = (x * (said * (1 - said))[:, None]).T @ x + _RIDGE * np.eye(x.shape[1])
        # Newton overshoots where the champion is sure of itself and wrong.
        weights = weights + np.clip(np.linalg.solve(hessian, gradient), -0.7, 0.7)
    return weights


def _probability(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(rows @ weights[:-1] + weights[-1], -30, 30)))


def _loss(weights: np.ndarray, rows: np.ndarray, outcome: np.ndarray) -> float:
    said = np.clip(_probability(weights, rows), 1e-6, 1 - 1e-6)
    return float(-np.mean(outcome * np.log(said) + (1 - outcome) * np.log(1 - said)))
