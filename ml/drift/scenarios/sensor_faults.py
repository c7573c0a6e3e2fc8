"""Kinds of sensor fault: the machine is fine, one of its readings is not. Truth: SENSOR_FAULT."""

import numpy as np

from ml.drift.scenarios.draft import Draft


def stuck(draft: Draft, rng: np.random.Generator) -> None:
    """One value for hours to days."""
    metric, length = draft.pick(rng), int(draft.between(30, 200, rng))
    first = int(rng.integers(draft.begins, max(len(draft.true) - length, draft.begins + 1)))
    draft.reported[first : first + length, metric] = draft.reported[first, metric]


def stuck_again_and_again(draft: Draft, rng: np.random.Generator) -> None:
    """Freezes for half a day, recovers, freezes again."""
    metric = draft.pick(rng)
    for first in range(draft.begins, len(draft.true), 36):
        length = int(rng.integers(14, 22))
        draft.reported[first : first + length, metric] = draft.reported[first, metric]


def held_samples(draft: Draft, rng: np.random.Generator) -> None:
    """Refreshes only every few readings."""
    metric, every = draft.pick(rng), int(rng.integers(3, 7))
    steps = np.arange(draft.begins, len(draft.true))
    draft.reported[steps, metric] = draft.reported[steps - (steps - draft.begins) % every, metric]


def flat_at_zero(draft: Draft, rng: np.random.Generator) -> None:
    """The wire is off: zero."""
    draft.reported[draft.changed, draft.pick(rng)] = 0.0


def flat_with_noise(draft: Draft, rng: np.random.Generator) -> None:
    """Follows the machine no more: its mean with electrical noise."""
    metric = draft.pick(rng)
    values = draft.reported[draft.changed, metric]
    noise = rng.standard_normal(len(values)) * 0.04 * draft.spread[metric]
    draft.reported[draft.changed, metric] = np.nanmean(values) + noise


def spikes_both_ways(draft: Draft, rng: np.random.Generator) -> None:
    """Isolated jumps up and down."""
    _spikes(draft, rng, signed=True)


def spikes_upwards(draft: Draft, rng: np.random.Generator) -> None:
    """Isolated jumps up."""
    _spikes(draft, rng, signed=False)


def _spikes(draft: Draft, rng: np.random.Generator, signed: bool) -> None:
    metric, share = draft.pick(rng), float(rng.uniform(0.05, 0.12)) * draft.size
    steps = np.arange(draft.begins, len(draft.true))
    hit = steps[rng.random(len(steps)) < share]
    # In units of how far a reading usually stands out against its neighbours.
    moves = np.abs(np.diff(draft.true[:, metric]))
    unit = max(float(np.nanquantile(moves, 0.99)), float(draft.spread[metric]))
    sign = rng.choice([-1.0, 1.0], len(hit)) if signed else 1.0
    draft.reported[hit, metric] += sign * rng.uniform(3.0, 8.0, len(hit)) * unit


def offset_up(draft: Draft, rng: np.random.Generator) -> None:
    """Reads too high by a constant."""
    metric = draft.pick(rng)
    draft.reported[draft.changed, metric] += draft.between(4, 10, rng) * draft.spread[metric]


def offset_down(draft: Draft, rng: np.random.Generator) -> None:
    """Reads too low by a constant."""
    metric = draft.pick(rng)
    draft.reported[draft.changed, metric] -= draft.between(4, 10, rng) * draft.spread[metric]


def fahrenheit(draft: Draft, rng: np.random.Generator) -> None:
    """Another unit with another zero: x · 1.8 + 32."""
    metric = draft.pick(rng)
    draft.reported[draft.changed, metric] *= 1.8
    draft.reported[draft.changed, metric] += 32.0 + 4.0 * draft.spread[metric]


def other_unit(draft: Draft, rng: np.random.Generator) -> None:
    """Another unit of the same zero: inches, psi, thousands."""
    metric = _far_from_zero(draft, rng)
    draft.reported[draft.changed, metric] *= float(rng.choice([1 / 25.4, 14.5038, 1000.0, 0.001, 100.0]))


def wrong_gain(draft: Draft, rng: np.random.Generator) -> None:
    """Reads a fixed share too much."""
    metric = _far_from_zero(draft, rng)
    usual = abs(float(np.nanmean(draft.true[:, metric]))) / float(draft.spread[metric])
    # A gain whose effect on the level is that of an offset of 4 to 9 deviations.
    gain = 1.0 + rng.choice([-1.0, 1.0]) * min(draft.between(4, 9, rng) / usual, 0.9)
    draft.reported[draft.changed, metric] *= gain


def decalibration(draft: Draft, rng: np.random.Generator) -> None:
    """Drifts off within days."""
    metric = draft.pick(rng)
    ramp = np.linspace(0.0, draft.between(7, 14, rng), len(draft.true) - draft.begins)
    draft.reported[draft.changed, metric] += rng.choice([-1.0, 1.0]) * ramp * draft.spread[metric]


def duplicate(draft: Draft, rng: np.random.Generator) -> None:
    """Shows another sensor's signal."""
    first, second = rng.choice(len(draft.metrics), 2, replace=False)
    draft.reported[draft.changed, first] = draft.reported[draft.changed, second]


def rescaled_duplicate(draft: Draft, rng: np.random.Generator) -> None:
    """Shows another sensor's signal, scaled to its own range."""
    first, second = rng.choice(len(draft.metrics), 2, replace=False)
    copied = draft.reported[draft.changed, second]
    scaled = (copied - np.nanmean(draft.true[:, second])) / np.nanstd(draft.true[:, second])
    draft.reported[draft.changed, first] = scaled * np.nanstd(draft.true[:, first]) + np.nanmean(
        draft.true[:, first]
    )


def machine_clock_ahead(draft: Draft, rng: np.random.Generator) -> None:
    """The machine's clock runs ahead: readings are known before they happened."""
    draft.delay_h[draft.changed] -= draft.between(1.2, 6, rng)


def machine_clock_behind(draft: Draft, rng: np.random.Generator) -> None:
    """The machine's clock runs behind."""
    draft.delay_h[draft.changed] += draft.between(1.2, 6, rng)


def sensor_clock(draft: Draft, rng: np.random.Generator) -> None:
    """One sensor's readings carry the time of some readings later."""
    metric, lag = _most_related(draft), int(rng.integers(2, 6))
    draft.reported[draft.changed, metric] = draft.reported[draft.begins - lag : len(draft.true) - lag, metric]


def dropout(draft: Draft, rng: np.random.Generator) -> None:
    """Silent for days while the others report."""
    metric, length = draft.pick(rng), int(draft.between(80, 220, rng))
    draft.reported[draft.begins : draft.begins + length, metric] = np.nan


def flickering(draft: Draft, rng: np.random.Generator) -> None:
    """Loses a share of its readings at random."""
    metric = draft.pick(rng)
    lost = rng.random(len(draft.true) - draft.begins) < draft.between(0.35, 0.8, rng)
    draft.reported[draft.begins :, metric][lost] = np.nan


def noise_burst(draft: Draft, rng: np.random.Generator) -> None:
    """Electrical noise of several usual deviations."""
    metric = draft.pick(rng)
    moves = float(np.nanmean(np.abs(np.diff(draft.true[:, metric])))) + float(draft.spread[metric])
    noise = rng.standard_normal(len(draft.true) - draft.begins) * draft.between(4, 8, rng) * moves
    draft.reported[draft.changed, metric] += noise


def saturated(draft: Draft, rng: np.random.Generator) -> None:
    """Can't read above a value in its usual range."""
    metric = draft.pick(rng)
    limit = np.nanquantile(draft.true[draft.changed, metric], rng.uniform(0.45, 0.7))
    draft.reported[draft.changed, metric] = np.minimum(draft.reported[draft.changed, metric], limit)


def coarse(draft: Draft, rng: np.random.Generator) -> None:
    """Resolution lost: a few steps over its whole range."""
    metric = draft.pick(rng)
    step = draft.between(1.5, 3, rng) * draft.spread[metric]
    draft.reported[draft.changed, metric] = np.round(draft.reported[draft.changed, metric] / step) * step


def impossible_values(draft: Draft, rng: np.random.Generator) -> None:
    """Error codes sent as readings: far outside what is physical."""
    metric, share = draft.pick(rng), float(rng.uniform(0.04, 0.2))
    hit = np.flatnonzero(rng.random(len(draft.true) - draft.begins) < share) + draft.begins
    draft.reported[hit, metric] = rng.choice([-9999.0, 65535.0])


def swapped_sign(draft: Draft, rng: np.random.Generator) -> None:
    """Wired the wrong way round: x becomes −x."""
    draft.reported[draft.changed, _far_from_zero(draft, rng)] *= -1.0


def _far_from_zero(draft: Draft, rng: np.random.Generator) -> int:
    distance = np.abs(np.nanmean(draft.true, axis=0)) / draft.spread
    far = np.flatnonzero(distance > 4)
    return int(rng.choice(far)) if len(far) else int(np.argmax(distance))


def _most_related(draft: Draft) -> int:
    known = np.nan_to_num(draft.true - np.nanmean(draft.true, axis=0))
    related = np.abs(np.corrcoef(known.T) - np.eye(known.shape[1])).max(axis=0)
    return int(np.argmax(np.nan_to_num(related)))
