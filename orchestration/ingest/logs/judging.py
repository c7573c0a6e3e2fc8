"""When a window is judged: at looks before it is over, and at its close.

The service and the evaluations judge through this module alone, so that what is measured is what runs. Avoid
statistics: `detector` has them.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl

from orchestration.ingest.logs.detector import LogDetector
from orchestration.ingest.logs.evidence import Verdict, WindowLines

LOOKS = (timedelta(seconds=20), timedelta(seconds=40))
"""How long after a window's begin it is looked at before it closes."""


def looks_due(starts_at: datetime, complete_until: datetime, looked_until: datetime | None) -> list[datetime]:
    """Instants within a window up to which its lines can be looked at now.

    Args:
        starts_at: First instant of the window.
        complete_until: Up to when lines are believed complete.
        looked_until: The last look; None before the first.

    Example:
        >>> at = datetime(2026, 1, 1, 12)
        >>> looks_due(at, at + timedelta(seconds=45), at + timedelta(seconds=20))
        [datetime.datetime(2026, 1, 1, 12, 0, 40)]
    """
    instants = [starts_at + after for after in LOOKS]
    return [at for at in instants if at <= complete_until and (looked_until is None or at > looked_until)]


def look(detector: LogDetector, window: WindowLines, until: datetime) -> Verdict | None:
    """Judge what a window holds before an instant; None where that is nothing. Nothing is learned."""
    part = window.lines.filter(pl.col("event_at") < until)
    if part.is_empty():
        return None
    return detector.look(WindowLines(window.starts_at, window.ends_at, part, window.metrics), until)


def judge_window(
    detector: LogDetector, window: WindowLines, looked_until: datetime | None = None
) -> Iterator[Verdict]:
    """Judge a whole window: the looks that are left, then the close, from which the detector learns.

    Args:
        detector: Is changed by the close.
        window: All of its lines and metrics.
        looked_until: The last look that was made while the window was open.
    """
    for until in looks_due(window.starts_at, window.ends_at, looked_until):
        verdict = look(detector, window, until)
        if verdict is not None:
            yield verdict
    yield detector.close(window)
