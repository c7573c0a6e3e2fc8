"""The columns that detection reads, made from the fields of a log line.

Add here how a field is read out of a line's text. Avoid templates: `templates` mines them for lines that
don't name their statement themselves.
"""

import polars as pl

CALL_SITE = r"(?:^|\s)([A-Za-z_][\w.$\[\]]*(?:#|\.(?:java|py|go|ts|js|rb|cs):)\d+)(?:\s|$|\])"
"""`logger#line` or `file.py:line`: where a line carries it, it names the statement better than any mining."""


def with_statements(lines: pl.DataFrame) -> pl.DataFrame:
    """Add `statement`: the call site that the line itself names; null where it names none."""
    return lines.with_columns(statement=pl.col("message").str.extract(CALL_SITE))
