"""The path of requests through statements: which statement follows which within a trace, and how soon.

Cutting a trace at every line takes a caller's waiting out of its own time: while a callee writes lines,
the gaps belong to the callee. Add here how steps are made from lines. Avoid judging them: `flow_history`.
"""

from dataclasses import dataclass

import polars as pl

END = ""
"""Name of the step after the last line of a trace that has come to rest."""
REST_S = 5.0
"""A trace without a line for so long is over: a request of a running shop takes less (99.9 %: 4 s)."""
LONGEST_CARRY_S = 120.0
KEY = "\x1f"
"""Between source and statement in a place's name; neither may hold a control character."""

STEP_COLUMNS = ("trace_id", "place", "next_place", "source", "next_source", "gap_s", "is_call")


@dataclass(frozen=True)
class Steps:
    """Steps of one window.

    Attributes:
        steps: One row per pair of consecutive lines of a trace (`STEP_COLUMNS`); `next_place` is `END`
            and `gap_s` null for a trace that came to rest; `is_call` where the second line is the first
            of its span (or of its source, where lines have no span).
        open_lines: Last line of each trace that may go on; give them to the next window.
    """

    steps: pl.DataFrame
    open_lines: pl.DataFrame


def place(source: str, statement: str) -> str:
    """Name of one statement of one source, as in the columns of `Steps`."""
    return f"{source}{KEY}{statement}"


def read_steps(lines: pl.DataFrame, open_lines: pl.DataFrame | None, window_end: pl.Expr) -> Steps:
    """Make steps from a window's lines; the order of the lines does not matter.

    Args:
        lines: `trace_id, span_id, source, statement, event_at`; rows without trace are left out.
        open_lines: What the window before left open.
        window_end: End of the window (a literal): decides which traces have come to rest.
    """
    columns = ("trace_id", "span_id", "source", "statement", "event_at", "is_first")
    traced = lines.filter(pl.col("trace_id").is_not_null()).with_columns(is_first=pl.lit(False))
    parts = [traced.select(columns)]
    if open_lines is not None and open_lines.height:
        parts.append(open_lines.select(columns))
    ordered = pl.concat(parts).sort("trace_id", "event_at", maintain_order=True)
    span = pl.coalesce("span_id", "source")
    ordered = ordered.with_columns(
        place=pl.concat_str("source", "statement", separator=KEY),
        enters=pl.int_range(pl.len()).over("trace_id", span) == 0,
    )
    steps = ordered.with_columns(
        next_place=pl.col("place").shift(-1).over("trace_id"),
        next_source=pl.col("source").shift(-1).over("trace_id"),
        is_call=pl.col("enters").shift(-1).over("trace_id")
        & (pl.col("source") != pl.col("source").shift(-1).over("trace_id")),
        gap_s=(pl.col("event_at").shift(-1).over("trace_id") - pl.col("event_at")).dt.total_microseconds()
        / 1e6,
    )
    last = steps.filter(pl.col("next_place").is_null())
    age = (window_end - pl.col("event_at")).dt.total_microseconds() / 1e6
    ended = last.filter(age > REST_S).with_columns(next_place=pl.lit(END), is_call=pl.lit(False))
    still_open = last.filter(age <= REST_S)
    made = pl.concat([steps.filter(pl.col("next_place").is_not_null()), ended])
    return Steps(made.select(STEP_COLUMNS), still_open.select(columns))
