"""Forward-chained folds, grouped by machine, with a gap of one horizon.

A fold's test rows are some machines in a later period. Its training rows are the other machines before
that period, less the gap: no row of a tested machine, and no label that looks into the tested period.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ml.datasets.training_set import TrainingSet
from ml.training.fitting import machine_groups

# Half of the time is history before the first test; two test periods, so that the second is
# predicted with what the first one taught.
FIRST_CUT = 0.5
PERIODS = 2
GROUPS = 4
# Half of a large fleet teaches as much as three quarters of it, in half of the fits.
MANY_MACHINES, GROUPS_OF_MANY = 40, 2


@dataclass(frozen=True)
class Fold:
    """Row numbers of one fold.

    Attributes:
        period: Number of the test period.
        group: Number of the tested machine group.
        starts_at: First instant of the test period.
        train: Rows to train on.
        test: Rows to predict.
    """

    period: int
    group: int
    starts_at: datetime
    train: np.ndarray
    test: np.ndarray


def forward_folds(
    data: TrainingSet, first_cut: float = FIRST_CUT, periods: int = PERIODS, groups: int | None = None
) -> Iterator[Fold]:
    """Yield the folds; together their test rows are every row after the first cut, once.

    Args:
        data: Rows of all machines.
        first_cut: Share of the time before the first test period.
        periods: Number of test periods after it.
        groups: Number of machine groups; by default 4, and 2 from 40 machines on.
    """
    hours = data.keys["hour_at"]
    first, last = hours.min(), hours.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    span = last - first
    cuts = [first + span * (first_cut + (1 - first_cut) * number / periods) for number in range(periods + 1)]
    if groups is None:
        groups = GROUPS_OF_MANY if data.keys["equipment_id"].n_unique() >= MANY_MACHINES else GROUPS
    group_of = machine_groups(data.keys, data.failures, groups)
    for period in range(periods):
        before = (hours + data.horizon <= cuts[period]).to_numpy()
        inside = ((hours > cuts[period]) & (hours <= cuts[period + 1])).to_numpy()
        for group in range(groups):
            train = np.flatnonzero(before & (group_of != group))
            test = np.flatnonzero(inside & (group_of == group))
            if len(test):
                yield Fold(period, group, cuts[period], train, test)
