"""Puts faults into recorded quiet lines: what the lines would have been, had something been wrong.

Each function returns other lines of the same columns; time, source and size are the caller's draw. Add a
kind of fault here. Avoid drawing parameters and judging: evaluations do both.
"""

from datetime import datetime, timedelta
from enum import StrEnum

import polars as pl

OUTSIDE_S = 0.0015
"""A gap within one source above 1.5 ms is taken for a call that writes no lines, to a database perhaps."""


class FaultKind(StrEnum):
    """What can be put in."""

    NETWORK_DELAY = "network_delay"
    CPU_CONTENTION = "cpu_contention"
    EXCEPTION = "exception"
    ERROR_BURST = "error_burst"
    SILENCE = "silence"


def inject_network_delay(lines: pl.DataFrame, source: str, since: datetime, delay: timedelta) -> pl.DataFrame:
    """Delay all that a source sends: its calls, its answers, its questions to databases.

    Later lines of the same trace move with the delay; other traces are not touched.

    Args:
        lines: `trace_id, source, event_at` and more.
        source: Whose packets are late.
        since: Traces that began earlier are left alone.
        delay: Of each packet.
    """
    gap_s = (pl.col("event_at") - pl.col("event_at").shift(1)).over("trace_id").dt.total_microseconds() / 1e6
    before = pl.col("source").shift(1).over("trace_id")
    leaves = (before == source) & ((pl.col("source") != source) | (gap_s > OUTSIDE_S))
    return _shift(lines, since, pl.when(leaves).then(delay.total_seconds()).otherwise(0.0))


def inject_cpu_contention(lines: pl.DataFrame, source: str, since: datetime, factor: float) -> pl.DataFrame:
    """Make all that a source computes slower: each gap after one of its lines is stretched.

    Args:
        lines: `trace_id, source, event_at` and more.
        source: Whose processor is taken away.
        since: Traces that began earlier are left alone.
        factor: Of each gap, > 1.
    """
    gap_s = (pl.col("event_at") - pl.col("event_at").shift(1)).over("trace_id").dt.total_microseconds() / 1e6
    own = pl.col("source").shift(1).over("trace_id") == source
    return _shift(lines, since, pl.when(own).then(gap_s * (factor - 1)).otherwise(0.0))


def _shift(lines: pl.DataFrame, since: datetime, added_s: pl.Expr) -> pl.DataFrame:
    ordered = lines.sort("trace_id", "event_at", maintain_order=True)
    touched = pl.col("event_at").min().over("trace_id") >= since
    total = pl.when(touched).then(added_s.fill_null(0.0)).otherwise(0.0).cum_sum().over("trace_id")
    moved = ordered.with_columns(
        event_at=pl.col("event_at") + pl.duration(microseconds=(total * 1e6).round().cast(pl.Int64))
    )
    return moved.sort("event_at", maintain_order=True)


def inject_exception(lines: pl.DataFrame, source: str, statement: str, since: datetime) -> pl.DataFrame:
    """Let a source fail at a statement: it and all that followed in these traces is gone.

    Args:
        lines: `trace_id, source, statement, event_at` and more.
        source: Failing source.
        statement: First of its statements that is no longer reached.
        since: Traces that reach it earlier are left alone.
    """
    fails = (pl.col("source") == source) & (pl.col("statement") == statement) & (pl.col("event_at") >= since)
    cut_at = pl.when(fails).then(pl.col("event_at")).otherwise(None).min().over("trace_id")
    return lines.filter(cut_at.is_null() | (pl.col("event_at") < cut_at))


def inject_error_burst(
    lines: pl.DataFrame, source: str, since: datetime, share: float, every: int
) -> pl.DataFrame:
    """Turn lines of a source into errors with a text of their own.

    Args:
        lines: With `source, level, message, statement, event_at`.
        source: Failing source.
        since: From when on.
        share: Part of its lines, in (0, 1].
        every: Phase of the choice; another number takes other lines.
    """
    chosen = (
        (pl.col("source") == source)
        & (pl.col("event_at") >= since)
        & ((pl.int_range(pl.len()) * 7919 + every) % 1000 < share * 1000)
    )
    return lines.with_columns(
        level=pl.when(chosen).then(pl.lit("ERROR")).otherwise("level"),
        message=pl.when(chosen).then(pl.lit("unexpected failure: ") + pl.col("message")).otherwise("message"),
        statement=pl.when(chosen).then(pl.lit("Unexpected#1")).otherwise("statement"),
    )


def inject_silence(lines: pl.DataFrame, source: str, since: datetime) -> pl.DataFrame:
    """Let a source die: its lines are gone, and with them the rest of the traces that need it."""
    gone = (pl.col("source") == source) & (pl.col("event_at") >= since)
    cut_at = pl.when(gone).then(pl.col("event_at")).otherwise(None).min().over("trace_id")
    alone = gone & pl.col("trace_id").is_null()
    return lines.filter(~alone & (cut_at.is_null() | (pl.col("event_at") < cut_at)))
