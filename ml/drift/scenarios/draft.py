"""One scenario in the making: what truly happened, what the sensors said, what the model is told later.

Add a property here when a kind of change needs it. Avoid kinds: they are functions on a draft.
"""

from dataclasses import dataclass, field

import numpy as np

from ml.validation.readings import Readings

REFERENCE_DAYS, WINDOW_DAYS = 45, 10
DAYS = REFERENCE_DAYS + WINDOW_DAYS


@dataclass
class Draft:
    """Series of one machine and the truth behind its scores; kinds of change edit it in place.

    Attributes:
        metrics: Sensor names.
        true: What happened, shape (steps, metrics).
        reported: What the sensors say; faults edit this alone.
        usual: The undisturbed readings, for profile, deviations and rest.
        steps_per_day: Steps in a day.
        begins: First step of the change.
        size: 1 for the standard bank; smaller is harder to see.
        weights: Effect of each sensor on the true log odds, shape (metrics,).
        labels_per_day: Outcomes that mature a day.
        log_odds: Change of the true log odds by day that the model does not know, shape (days,).
        slope: Factor on the effect of everything the model knows, by day, shape (days,).
        context: Shift of what the model reads beside the sensors, known to model and truth, shape (days,).
        delay_h: Hours until a reading is known, shape (steps,).
    """

    metrics: tuple[str, ...]
    true: np.ndarray
    reported: np.ndarray
    usual: Readings
    steps_per_day: int
    begins: int
    size: float
    weights: np.ndarray
    labels_per_day: float
    delay_h: np.ndarray
    log_odds: np.ndarray = field(default_factory=lambda: np.zeros(DAYS))
    slope: np.ndarray = field(default_factory=lambda: np.ones(DAYS))
    context: np.ndarray = field(default_factory=lambda: np.zeros(DAYS))

    @property
    def spread(self) -> np.ndarray:
        """Usual deviation of each sensor without its profile, shape (metrics,)."""
        return self.usual.spread

    @property
    def changed(self) -> slice:
        """Steps from the change on."""
        return slice(self.begins, len(self.true))

    @property
    def changed_days(self) -> slice:
        """Days from the change on."""
        return slice(self.begins // self.steps_per_day, DAYS)

    def between(self, low: float, high: float, rng: np.random.Generator) -> float:
        """A size drawn from [low, high] for the standard bank, shrunk for a harder one."""
        return float(rng.uniform(low, high)) * self.size

    def pick(self, rng: np.random.Generator) -> int:
        """A sensor at random."""
        return int(rng.integers(len(self.metrics)))

    def rescale_all(self, centre: np.ndarray, factor: float) -> None:
        """Stretch what happens from the change on around a centre, while the machine works."""
        at_work = ~self.usual.is_at_rest[self.changed, None]
        scaled = centre + (self.true[self.changed] - centre) * factor
        self.true[self.changed] = np.where(at_work, scaled, self.true[self.changed])
        self.reported[self.changed] = self.true[self.changed]

    def shift_all(self, by: np.ndarray, steps: slice | None = None) -> None:
        """Move true and reported values together, `by` in usual deviations.

        Args:
            by: Shape (metrics,) or (steps, metrics).
            steps: Which; from the change on by default.
        """
        part = steps or self.changed
        moved = np.where(self.usual.is_at_rest[part, None], 0.0, by * self.spread)
        self.true[part] += moved
        self.reported[part] += moved
