"""Kinds of change of what readings mean: the model becomes wrong. Truth: CONCEPT.

And the same with too few outcomes to know it: NOT_ENOUGH_LABELS. Sensors tell the truth in all of them.
"""

import numpy as np

from ml.drift.scenarios.changes import new_product, younger_parts
from ml.drift.scenarios.draft import Draft


def more_failures(draft: Draft, rng: np.random.Generator) -> None:
    """The odds of failing rise at the same readings."""
    draft.log_odds[draft.changed_days] += draft.between(1.0, 1.8, rng)


def fewer_failures(draft: Draft, rng: np.random.Generator) -> None:
    """The odds of failing fall at the same readings, as after a better part."""
    draft.log_odds[draft.changed_days] -= draft.between(1.3, 2.2, rng)


def new_failure_mode(draft: Draft, rng: np.random.Generator) -> None:
    """Failures that no reading announces."""
    draft.slope[draft.changed_days] *= 0.3
    draft.log_odds[draft.changed_days] += draft.between(1.0, 1.6, rng)


def lost_meaning(draft: Draft, rng: np.random.Generator) -> None:
    """High scores no longer fail more often."""
    draft.slope[draft.changed_days] = 1.0 - min(draft.between(0.9, 1.1, rng), 1.2)


def reversed_meaning(draft: Draft, rng: np.random.Generator) -> None:
    """High scores fail less often."""
    draft.slope[draft.changed_days] = 1.0 - draft.between(1.6, 2.2, rng)


def sharper_meaning(draft: Draft, rng: np.random.Generator) -> None:
    """Moderate scores already fail."""
    draft.slope[draft.changed_days] = 1.0 + draft.between(0.6, 1.0, rng)
    draft.log_odds[draft.changed_days] += draft.between(0.9, 1.3, rng)


def gradual(draft: Draft, rng: np.random.Generator) -> None:
    """The odds rise from day to day."""
    days = draft.log_odds[draft.changed_days]
    draft.log_odds[draft.changed_days] = days + np.linspace(0.4, draft.between(1.8, 2.6, rng), len(days))


def concept_in_new_mode(draft: Draft, rng: np.random.Generator) -> None:
    """The machine is run otherwise, and the model is wrong there."""
    new_product(draft, rng)
    draft.log_odds[draft.changed_days] += draft.between(1.3, 2.0, rng)


def concept_with_benign_step(draft: Draft, rng: np.random.Generator) -> None:
    """Other inputs move too, as they may."""
    younger_parts(draft, rng)
    draft.log_odds[draft.changed_days] += draft.between(1.2, 1.9, rng)


def scores_move_few_labels(draft: Draft, rng: np.random.Generator) -> None:
    """Scores move, and hardly any outcome is known."""
    younger_parts(draft, rng)
    draft.labels_per_day = float(rng.uniform(1, 4))


def concept_few_labels(draft: Draft, rng: np.random.Generator) -> None:
    """Scores move and are wrong, and hardly any outcome is known."""
    younger_parts(draft, rng)
    draft.log_odds[draft.changed_days] += rng.uniform(0.3, 0.8)
    draft.labels_per_day = float(rng.uniform(0.5, 2.5))


def scores_move_no_labels(draft: Draft, rng: np.random.Generator) -> None:
    """Scores move, and the window's outcomes are all still open."""
    younger_parts(draft, rng)
    draft.labels_per_day = 0.0
