"""The mission's spike rule, exactly as it was written down.

It stands beside the detector for comparison and for who wants it. Avoid improving it: it is a reference.
"""

import polars as pl

MIN_ERRORS = 5
MAX_ERROR_RATE = 0.1
ERROR_LEVELS = ("ERROR", "CRITICAL")


def is_spike(lines: int, errors: int, anomalies: int = 0, *, trust_ground_truth: bool = False) -> bool:
    """Whether a window is a spike: `error_count >= 5` or `error_rate > 0.1`.

    Args:
        lines: Lines of the window.
        errors: Of these, ERROR and CRITICAL.
        anomalies: Of these, flagged by the generator's ground truth.
        trust_ground_truth: Also call a spike on any flagged line. That is the answer inside the question: off
            unless somebody asks for it by this name.

    Example:
        >>> is_spike(lines=1000, errors=5), is_spike(lines=20, errors=2), is_spike(lines=19, errors=2)
        (True, False, True)
    """
    if trust_ground_truth and anomalies > 0:
        return True
    return errors >= MIN_ERRORS or (lines > 0 and errors / lines > MAX_ERROR_RATE)


def mission_rule(lines: pl.DataFrame) -> tuple[tuple[str, float], ...]:
    """Sources whose window is a spike, with their errors as score; all sources together count as one too.

    Args:
        lines: One window's lines with `source` and `level`.

    Returns:
        (source, errors), most errors first; where only the whole is a spike, the sources with errors.
    """
    by_source = lines.group_by("source").agg(lines=pl.len(), errors=pl.col("level").is_in(ERROR_LEVELS).sum())
    rows = sorted(by_source.iter_rows(), key=lambda row: (-row[2], row[0]))
    spikes = tuple((str(source), float(errors)) for source, n, errors in rows if is_spike(n, errors))
    if spikes:
        return spikes
    if is_spike(sum(row[1] for row in rows), sum(row[2] for row in rows)):
        return tuple((str(source), float(errors)) for source, _, errors in rows if errors)
    return ()
