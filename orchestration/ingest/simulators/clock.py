"""Plant time: day blocks of 96 slots of 15 minutes from a fixed start, and the types that carry them.

The day is the unit in which everything is drawn and computed, always with arrays of the same shape,
so that a day comes out bit-identical whichever window asks for it. Avoid the wall clock.
"""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PLANT_START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
SLOT_S = 900
SLOTS_PER_HOUR = 3600 // SLOT_S
SLOTS_PER_DAY = 86_400 // SLOT_S
DAY_S = 86_400
DAY_US = DAY_S * 1_000_000
START_US = int(PLANT_START.timestamp()) * 1_000_000  # of the epoch


def to_microseconds(instant: datetime) -> int:
    """Microseconds since the start of plant time.

    >>> to_microseconds(datetime(2026, 1, 5, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    elapsed = instant - PLANT_START
    return (elapsed.days * DAY_S + elapsed.seconds) * 1_000_000 + elapsed.microseconds
