"""A suite's plain bounds as two arrays: whether a batch holds them is one comparison, not one per column.

Only for the answer "everything holds", which nearly every call gets; what is violated is then put into
words by the suite itself. Avoid thresholds here: they stand in the suite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_BETWEEN = "expect_column_values_to_be_between"
_NOT_NULL = "expect_column_values_to_not_be_null"


@dataclass(frozen=True)
class Bounds:
    """Lowest, highest and required values per column of the input, shape (columns,) each."""

    low: np.ndarray
    high: np.ndarray
    is_required: np.ndarray

    @classmethod
    def of_suite(cls, document: Mapping[str, Any], columns: Sequence[str]) -> "Bounds | None":
        """Bounds of a suite; None where it holds anything that is no bound on every value."""
        found = cls(
            np.full(len(columns), -np.inf), np.full(len(columns), np.inf), np.zeros(len(columns), dtype=bool)
        )
        position = {name: index for index, name in enumerate(columns)}
        for row in document.get("expectations", []):
            given = row.get("kwargs", {})
            index = position.get(given.get("column", ""))
            if index is None or float(given.get("mostly") or 1.0) < 1.0:
                return None
            if row["type"] == _NOT_NULL:
                found.is_required[index] = True
            elif row["type"] == _BETWEEN:
                found.low[index] = max(found.low[index], _or(given.get("min_value"), -np.inf))
                found.high[index] = min(found.high[index], _or(given.get("max_value"), np.inf))
            else:
                return None
        return found

    def hold(self, inputs: np.ndarray) -> bool:
        """Whether every value of a batch, shape (rows, columns), is inside; NaN is a missing value."""
        # Written so that a missing value, which compares to nothing, is outside of no bound.
        is_outside = (inputs < self.low) | (inputs > self.high)
        return not bool(is_outside.any()) and not bool(np.isnan(inputs[:, self.is_required]).any())


def _or(value: Any, without: float) -> float:
    return without if value is None else float(value)
