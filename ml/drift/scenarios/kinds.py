"""The catalogue: every kind of change with its truth, and how a scenario of it is drawn.

Add a kind as a function in its module and as a row here. Avoid judging: `bank` does that.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ml.drift.label_evidence import ScoredLabels
from ml.drift.scenarios import changes, concepts, sensor_faults
from ml.drift.scenarios.bases import Base
from ml.drift.scenarios.draft import DAYS, REFERENCE_DAYS, WINDOW_DAYS, Draft
from ml.drift.verdict import Verdict
from ml.validation.readings import Readings

Change = Callable[[Draft, np.random.Generator], None]


@dataclass(frozen=True)
class Kind:
    """One kind of change.

    Attributes:
        change: What it does to a draft.
        truth: The right verdict.
        needs_relation: Only where sensors follow each other (r > 0.7) can anybody see it.
    """

    change: Change
    truth: Verdict
    needs_relation: bool = False

    @property
    def name(self) -> str:
        """Identifier, in words."""
        return self.change.__name__


@dataclass(frozen=True)
class Difficulty:
    """How hard a bank is.

    Attributes:
        name: `standard` or `hard`.
        size: Sizes of changes are drawn from these shares of the standard ones.
        latest_day: Changes begin up to this day of the window.
        labels_per_day: Range of matured outcomes a day.
    """

    name: str
    size: tuple[float, float]
    latest_day: int
    labels_per_day: tuple[float, float]


STANDARD = Difficulty("standard", (1.0, 1.0), 0, (30.0, 60.0))
HARD = Difficulty("hard", (0.5, 0.8), 3, (15.0, 30.0))

KINDS: tuple[Kind, ...] = (
    *(
        Kind(change, Verdict.SENSOR_FAULT)
        for change in (
            sensor_faults.stuck,
            sensor_faults.stuck_again_and_again,
            sensor_faults.held_samples,
            sensor_faults.flat_at_zero,
            sensor_faults.flat_with_noise,
            sensor_faults.spikes_both_ways,
            sensor_faults.spikes_upwards,
            sensor_faults.offset_up,
            sensor_faults.offset_down,
            sensor_faults.fahrenheit,
            sensor_faults.other_unit,
            sensor_faults.wrong_gain,
            sensor_faults.decalibration,
            sensor_faults.duplicate,
            sensor_faults.rescaled_duplicate,
            sensor_faults.machine_clock_ahead,
            sensor_faults.machine_clock_behind,
            sensor_faults.dropout,
            sensor_faults.flickering,
            sensor_faults.noise_burst,
            sensor_faults.saturated,
            sensor_faults.coarse,
            sensor_faults.impossible_values,
            sensor_faults.swapped_sign,
        )
    ),
    Kind(sensor_faults.sensor_clock, Verdict.SENSOR_FAULT, needs_relation=True),
    *(
        Kind(change, Verdict.OPERATING_MODE)
        for change in (
            changes.heavier_load,
            changes.lighter_load,
            changes.new_product,
            changes.new_recipe,
            changes.run_in_over_days,
            changes.scaled_operation,
            changes.alternating_products,
            changes.steadier_operation,
            changes.mode_with_few_labels,
        )
    ),
    *(
        Kind(change, Verdict.BENIGN)
        for change in (
            changes.season,
            changes.small_step_of_one,
            changes.small_step_without_effect,
            changes.younger_parts,
            changes.small_step_of_two,
        )
    ),
    *(
        Kind(change, Verdict.CONCEPT)
        for change in (
            concepts.more_failures,
            concepts.fewer_failures,
            concepts.new_failure_mode,
            concepts.lost_meaning,
            concepts.reversed_meaning,
            concepts.sharper_meaning,
            concepts.gradual,
            concepts.concept_in_new_mode,
            concepts.concept_with_benign_step,
        )
    ),
    *(
        Kind(change, Verdict.NOT_ENOUGH_LABELS)
        for change in (
            concepts.scores_move_few_labels,
            concepts.concept_few_labels,
            concepts.scores_move_no_labels,
        )
    ),
    *(
        Kind(change, Verdict.NO_DRIFT)
        for change in (
            changes.nothing,
            changes.nothing_with_few_labels,
            changes.few_lost_readings,
            changes.short_outage,
            changes.short_event,
            changes.slow_network,
            changes.incident_in_reference,
        )
    ),
)


@dataclass(frozen=True)
class Scenario:
    """What a monitor may see, and the truth that it may not."""

    kind: Kind
    base: str
    readings: Readings
    scored: ScoredLabels


def draw_scenario(kind: Kind, base: Base, difficulty: Difficulty, rng: np.random.Generator) -> Scenario:
    """Draw one scenario: a span, a scoring model, a change, and the outcomes that follow."""
    draft = _undisturbed(base, difficulty, rng)
    kind.change(draft, rng)
    scored = _outcomes(draft, rng)
    readings = _readings(base, draft.metrics, draft.reported, draft.delay_h)
    return Scenario(kind, base.name, readings, scored)


def has_relation(base: Base, rng: np.random.Generator) -> bool:
    """Whether two sensors of a base follow each other closely."""
    values = base.draw(rng)
    related = np.corrcoef(np.nan_to_num(values - np.nanmean(values, axis=0)).T)
    return bool(np.nan_to_num(np.abs(related - np.eye(len(related)))).max() > 0.7)


def _undisturbed(base: Base, difficulty: Difficulty, rng: np.random.Generator) -> Draft:
    values = base.draw(rng)
    # Models of one fleet carry different sensors.
    present = [column for column in range(values.shape[1]) if not np.isnan(values[:, column]).all()]
    values = values[:, present]
    metrics = tuple(base.metrics[column] for column in present)
    day = REFERENCE_DAYS + int(rng.integers(0, difficulty.latest_day + 1))
    weights = rng.normal(0.0, 0.45, len(metrics))
    weights[int(rng.integers(len(metrics)))] = rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.0)
    return Draft(
        metrics=metrics,
        true=values,
        reported=values.copy(),
        usual=_readings(base, metrics, values.copy(), None),
        steps_per_day=base.steps_per_day,
        begins=day * base.steps_per_day,
        size=float(rng.uniform(*difficulty.size)),
        weights=weights,
        labels_per_day=float(rng.uniform(*difficulty.labels_per_day)),
        delay_h=rng.exponential(0.08, len(values)),
    )


def _readings(
    base: Base, metrics: tuple[str, ...], values: np.ndarray, delay_h: np.ndarray | None
) -> Readings:
    return Readings(
        metrics=metrics,
        values=values,
        reference_steps=REFERENCE_DAYS * base.steps_per_day,
        steps_per_day=base.steps_per_day,
        lowest=np.full(len(metrics), -np.inf),
        highest=np.full(len(metrics), np.inf),
        delay_h=delay_h,
    )


def _outcomes(draft: Draft, rng: np.random.Generator) -> ScoredLabels:
    """Scores of the reported readings, outcomes of the true ones."""
    per_day = 40
    day = np.repeat(np.arange(DAYS), per_day)
    beside = rng.standard_normal(len(day)) * 0.8 + draft.context[day]
    said = -1.4 + _effect(draft, draft.reported)[day] + beside
    true = -1.4 + (_effect(draft, draft.true)[day] + beside) * draft.slope[day] + draft.log_odds[day]
    probability = 1.0 / (1.0 + np.exp(-said))
    is_failure = rng.random(len(day)) < 1.0 / (1.0 + np.exp(-true))
    in_window = day >= REFERENCE_DAYS
    # The reference is old enough for all outcomes; in the window they mature at their own rate.
    chance = np.full(len(day), min(draft.labels_per_day / per_day, 1.0))
    is_mature = rng.random(len(day)) < chance
    return ScoredLabels(
        probability=probability,
        is_failure=is_failure,
        is_mature=is_mature,
        in_window=in_window,
        cluster=np.arange(len(day)),
        day=day,
    )


def _effect(draft: Draft, values: np.ndarray) -> np.ndarray:
    """Effect of the sensors on the log odds by day: daily means in usual deviations, clipped as trees do."""
    usual = draft.usual
    centred = np.where(usual.is_at_rest[:, None], np.nan, (values - usual.profile) / usual.spread)
    days = np.clip(centred[: DAYS * draft.steps_per_day], -8, 8).reshape(DAYS, draft.steps_per_day, -1)
    counted = np.maximum((~np.isnan(days)).sum(axis=1), 1)
    level = np.nan_to_num(days).sum(axis=1) / counted
    return np.clip(level, -3.0, 3.0) @ draft.weights


__all__ = ["HARD", "KINDS", "STANDARD", "WINDOW_DAYS", "Difficulty", "Kind", "Scenario", "draw_scenario"]
