"""Units that run until they fail: the input of features and model, whatever file it came from."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True)
class Fleet:
    """Rows of units, sorted by unit and cycle.

    Attributes:
        unit: Shape (rows,).
        cycle: Shape (rows,), from 1 for each unit's first row.
        settings: Operating settings, shape (rows, settings).
        sensors: Shape (rows, sensors).
    """

    unit: NDArray[np.int64]
    cycle: NDArray[np.float64]
    settings: NDArray[np.float64]
    sensors: NDArray[np.float64]

    @classmethod
    def of(cls, frame: pl.DataFrame, settings: int) -> "Fleet":
        """From columns `unit`, `cycle`, then settings, then sensors, by position."""
        ordered = frame.sort("unit", "cycle")
        values = ordered.drop("unit", "cycle").to_numpy().astype(np.float64)
        return cls(
            unit=ordered["unit"].to_numpy().astype(np.int64),
            cycle=ordered["cycle"].to_numpy().astype(np.float64),
            settings=values[:, :settings],
            sensors=values[:, settings:],
        )

    @property
    def starts(self) -> NDArray[np.int64]:
        """First row of each unit."""
        return np.flatnonzero(np.diff(self.unit, prepend=self.unit[0] - 1))

    @property
    def last_rows(self) -> NDArray[np.int64]:
        """Last row of each unit."""
        return np.append(self.starts[1:], len(self.unit)) - 1

    def rows_to_end(self) -> NDArray[np.float64]:
        """Cycles until each unit's last row: the remaining life of units that ran until they failed."""
        last = self.last_rows
        lengths = np.diff(np.append(self.starts, len(self.unit)))
        return np.repeat(self.cycle[last], lengths) - self.cycle
