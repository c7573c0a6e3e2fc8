"""The scoring of the Numenta Anomaly Benchmark, standard profile, from its published definition.

Source: Lavin and Ahmad, Evaluating Real-time Anomaly Detection Algorithms, ICMLA 2015, and the scoring
rules of the benchmark's repository. The first alarm in a window counts, the earlier the better; a missed
window costs 1; an alarm outside costs up to 0.11, less shortly after a window; the first 15 % of a file (of
at most 5,000 rows) are not scored. 0 is a detector that never alarms, 100 one that alarms at each
window's first row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

PROBATION_SHARE = 0.15
PROBATION_MOST_ROWS = 5000
FALSE_POSITIVE_WEIGHT = 0.11
_FAR_BEHIND = 3.0
Window = tuple[datetime, datetime]


@dataclass(frozen=True)
class FileScore:
    """Score of one file before scaling.

    Attributes:
        raw: Sum of what alarms earned and cost; a missed window is -1.
        windows: Windows with at least one scored row.
        detected: Windows with an alarm.
        false_positives: Alarms outside windows.
    """

    raw: float
    windows: int
    detected: int
    false_positives: int


def score_file(
    instants: Sequence[datetime], windows: Sequence[Window], alarms: NDArray[np.bool_]
) -> FileScore:
    """Score the alarms of one file.

    Args:
        instants: Instant of each row, ascending.
        windows: First and last instant of each anomaly window.
        alarms: Shape (rows,).
    """
    rows = len(instants)
    stamps = _stamps(instants)
    is_scored = np.arange(rows) >= probation_rows(rows)
    worth = np.full(rows, -FALSE_POSITIVE_WEIGHT)
    inside = np.zeros(rows, dtype=bool)
    spans: list[tuple[int, int]] = []
    for start, end in sorted(windows):
        first = int(np.searchsorted(stamps, int(_stamps([start])[0]), side="left"))
        last = int(np.searchsorted(stamps, int(_stamps([end])[0]), side="right")) - 1
        if first <= last:
            spans.append((first, last))
    for number, (first, last) in enumerate(spans):
        width = last - first + 1
        inside[first : last + 1] = True
        worth[first : last + 1] = _sigmoid(-(last - np.arange(first, last + 1) + 1) / width) / _BEST
        until = spans[number + 1][0] if number + 1 < len(spans) else rows
        behind = np.arange(last + 1, until)
        worth[behind] = FALSE_POSITIVE_WEIGHT * _sigmoid((behind - last) / max(width - 1, 1))
    counted = alarms & is_scored
    raw, judged, detected = float(worth[counted & ~inside].sum()), 0, 0
    for first, last in spans:
        if not is_scored[last]:
            continue
        judged += 1
        hits = np.flatnonzero(counted[first : last + 1])
        detected += bool(len(hits))
        raw += float(worth[first + hits].max()) if len(hits) else -1.0
    return FileScore(raw, judged, detected, int((counted & ~inside).sum()))


def scaled(scores: Sequence[FileScore]) -> float:
    """Score of a set of files: 0 for no alarm at all, 100 for a perfect detector.

    Returns:
        NaN for a set without any window, which the benchmark scores as part of a larger set only.
    """
    windows = sum(score.windows for score in scores)
    if not windows:
        return float("nan")
    raw = sum(score.raw for score in scores)
    return 100.0 * (raw + windows) / (2.0 * windows)


def probation_rows(rows: int) -> int:
    """Rows at the start of a file that are not scored."""
    return int(min(PROBATION_SHARE * rows, PROBATION_SHARE * PROBATION_MOST_ROWS))


def _stamps(instants: Sequence[datetime]) -> NDArray[np.int64]:
    """Microseconds; an instant without a zone is read as UTC, whatever the machine's zone is."""
    return np.array(
        [int(instant.replace(tzinfo=UTC).timestamp() * 1e6) for instant in instants], dtype=np.int64
    )


def _sigmoid(position: NDArray[np.float64] | float) -> NDArray[np.float64]:
    bounded = np.minimum(position, _FAR_BEHIND)
    found = 2.0 / (1.0 + np.exp(5.0 * bounded)) - 1.0
    return np.where(np.asarray(position) > _FAR_BEHIND, -1.0, found)


_BEST = float(_sigmoid(-1.0))
