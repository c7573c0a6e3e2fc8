"""How messages travel: most arrive in seconds, some late, some twice.

Add ways of arriving here. Avoid content: a repeated message is byte for byte the first one.
"""

from dataclasses import dataclass

import numpy as np

from orchestration.ingest.simulators.clock import Bools, Ints

LONGEST_DELAY_S = 12 * 3600  # `plant` reads back one day, so this must stay under 24 h
_SHORTEST_LATE_S = 180
_REPEAT_WITHIN_S = 120


@dataclass(frozen=True)
class Arrivals:
    """Messages in the order in which they become known.

    Attributes:
        row: Index of the message's row in the frame, (m,) with m ≥ rows: repeats name a row twice.
        known_at_us: When it becomes known, microseconds of plant time, ascending: (m,).
        is_late: Whether it was held up for minutes to hours: (m,).
        is_duplicate: Whether it repeats an earlier message: (m,).
    """

    row: Ints
    known_at_us: Ints
    is_late: Bools
    is_duplicate: Bools


def deliver(
    event_at_us: Ints, rng: np.random.Generator, late_share: float, duplicate_share: float
) -> Arrivals:
    """Draw the arrival of each message of one day and topic.

    Args:
        event_at_us: When each message's event happened, microseconds of plant time, (rows,).
        rng: Generator of this day and topic.
        late_share: Probability of a message to be late.
        duplicate_share: Probability of a message to arrive a second time.
    """
    rows = len(event_at_us)
    chance, lateness, repeated, again = rng.random((4, rows))
    seconds = 0.2 + rng.gamma(2.0, 0.8, rows)
    is_late = chance < late_share
    low, high = np.log(_SHORTEST_LATE_S), np.log(LONGEST_DELAY_S - _REPEAT_WITHIN_S)
    seconds = np.where(is_late, np.exp(low + (high - low) * lateness), np.minimum(seconds, 30.0))
    known_at = event_at_us + (seconds * 1e6).astype(np.int64)
    twice = np.flatnonzero(repeated < duplicate_share)
    second = known_at[twice] + 1_000_000 + (again[twice] * (_REPEAT_WITHIN_S - 1) * 1e6).astype(np.int64)
    row = np.concatenate([np.arange(rows), twice])
    known = np.concatenate([known_at, second])
    is_duplicate = np.arange(len(row)) >= rows
    order = np.argsort(known, kind="stable")
    return Arrivals(row[order], known[order], is_late[row][order], is_duplicate[order])
