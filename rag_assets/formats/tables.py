"""Rows of cells to a Markdown table, for the formats that know tables as cells. Nothing else belongs here."""

from collections.abc import Sequence


def markdown_table(rows: Sequence[Sequence[str | None]]) -> str:
    """A pipe table with the first row as its head; empty when there is no row.

    >>> markdown_table([["code", "meaning"], ["E101", "too hot"]]).splitlines()
    ['| code | meaning |', '| --- | --- |', '| E101 | too hot |']
    """
    cells = [[" ".join((cell or "").split()).replace("|", "\\|") for cell in row] for row in rows]
    cells = [row for row in cells if any(row)]
    if not cells:
        return ""
    width = max(map(len, cells))
    lines = [f"| {' | '.join([*row, *[''] * (width - len(row))])} |" for row in cells]
    return "\n".join([lines[0], f"| {' | '.join(['---'] * width)} |", *lines[1:]])
