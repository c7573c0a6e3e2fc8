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
MOST_OPEN_LINES = 200
"""Last lines of an open trace that the next window gets: enough to know its spans."""
KEY = "\x1f"
"""Between source and statement in a place's name; neither may hold a control character."""

LEAVE = "\x1d"
"""Name of the step out of a span: the answer to its caller, or the end of the trace."""

LINE_COLUMNS = ("trace_id", "span_id", "source", "statement", "event_at")
STEP_COLUMNS = ("trace_id", "place", "next_place", "caller", "gap_s", "is_call", "leaves")


@dataclass(frozen=True)
class Steps:
    """Steps of one window.

    Attributes:
        steps: One row per pair of consecutive lines of a trace (`STEP_COLUMNS`); `next_place` is `END`
            and `gap_s` null for a trace that came to rest; `is_call` where the second line is the first
            of its span (or of its source, where lines have no span); `leaves` where it belongs to a span
            that was entered before, or the trace ended; `caller` is the place that the span was called from.
        open_lines: Lines of the traces that may go on; give them to the next window.
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
    traced = lines.filter(pl.col("trace_id").is_not_null())
    parts = [traced.select(*LINE_COLUMNS, is_old=pl.lit(False))]
    if open_lines is not None and open_lines.height:
        parts.insert(0, open_lines.select(*LINE_COLUMNS, is_old=pl.lit(True)))
    ordered = pl.concat(parts).sort("trace_id", "event_at", maintain_order=True)
    ordered = ordered.with_columns(
        place=pl.concat_str("source", "statement", separator=KEY),
        span=pl.coalesce("span_id", "source"),
        age_s=(window_end - pl.col("event_at").max().over("trace_id")).dt.total_microseconds() / 1e6,
    )
    ordered = ordered.with_columns(
        enters=pl.int_range(pl.len()).over("trace_id", "span") == 0,
        caller=pl.col("place").shift(1).over("trace_id"),
    ).with_columns(caller=pl.col("caller").first().over("trace_id", "span"))
    after = {
        name: pl.col(name).shift(-1).over("trace_id")
        for name in ("place", "source", "span", "enters", "event_at", "is_old")
    }
    steps = ordered.with_columns(
        next_place=after["place"],
        is_call=(after["enters"] & (after["source"] != pl.col("source"))).fill_null(False),
        leaves=(~after["enters"] & (after["span"] != pl.col("span"))).fill_null(True),
        gap_s=(after["event_at"] - pl.col("event_at")).dt.total_microseconds() / 1e6,
        is_known=after["is_old"].fill_null(False),
    )
    is_over = pl.col("next_place").is_null() & (pl.col("age_s") > REST_S)
    made = steps.filter((pl.col("next_place").is_not_null() & ~pl.col("is_known")) | is_over)
    still_open = ordered.filter(pl.col("age_s") <= REST_S).group_by("trace_id", maintain_order=True)
    return Steps(
        made.with_columns(pl.col("next_place").fill_null(END)).select(STEP_COLUMNS),
        still_open.tail(MOST_OPEN_LINES).select(LINE_COLUMNS),
    )
