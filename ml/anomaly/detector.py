"""What every anomaly detector is: fitted on normal rows, then a causal score for each row.

Add a detector as a module of its own and name it in `ml.anomaly.candidates`. Avoid thresholds here: they
come from the fitted scores (`ml.anomaly.threshold`).
"""

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class Detector(Protocol):
    """A detector of one machine.

    `score` looks back at most `context` rows, so the last row of a window of `context + 1` rows has exactly
    the score that it has in a long batch: one implementation serves batch and single rows.
    """

    @property
    def name(self) -> str:
        """Name in snake case, as results show it."""
        ...

    @property
    def context(self) -> int:
        """Rows before a row that its score depends on."""
        ...

    def fit(self, values: Values) -> Self:
        """Learn from normal rows.

        Args:
            values: Shape (rows, columns), in time order, finite.

        Returns:
            A fitted copy.
        """
        ...

    def score(self, values: Values) -> Values:
        """Score rows in time order.

        Args:
            values: Shape (rows, columns), finite.

        Returns:
            Shape (rows,); higher is stranger, NaN for the first rows that lack their context.
        """
        ...

    def contributions(self, values: Values) -> Values:
        """How much each column adds to the score of each row: shape (rows, columns), not negative."""
        ...


def spread_of(values: Values) -> Values:
    """Standard deviation by column, 1 where a column is constant: dividing by it is always safe."""
    spread: Values = values.std(axis=0)
    return np.where(spread > 1e-9 * (1.0 + np.abs(values).max(axis=0)), spread, 1.0)


def trailing_median(values: Values, rows: int) -> Values:
    """Median of the last `rows` values at each row; NaN for the first `rows - 1`.

    A median instead of an exponential mean: one wild value cannot raise it, and it falls back `rows / 2`
    after an anomaly ends, where an exponential mean is still above its threshold.
    """
    found = np.full(len(values), np.nan)
    if len(values) >= rows:
        windows = np.lib.stride_tricks.sliding_window_view(values, rows)
        found[rows - 1 :] = np.median(windows, axis=1)
    return found


def trailing_mean(values: Values, rows: int) -> Values:
    """Mean of the last `rows` rows, by column; NaN for the first `rows - 1`.

    Means of windows and not differences of running sums: those would give another last digit for the same
    row in a longer batch.
    """
    found = np.full(values.shape, np.nan)
    if len(values) >= rows:
        windows = np.lib.stride_tricks.sliding_window_view(values, rows, axis=0)
        found[rows - 1 :] = windows.mean(axis=-1)
    return found
