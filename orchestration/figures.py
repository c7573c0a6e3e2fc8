"""Measured figures in one form: a row each, printed as a table and written as JSON under `build/`.

`make bench`, `make evals` and the demo all write the same rows, so that one reader serves all.
Add columns here when every measurement has them. Avoid measuring here.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from orchestration.environment import PROJECT_ROOT

BUILD_DIR = PROJECT_ROOT / "build"


@dataclass(frozen=True)
class Figure:
    """One measured value beside its bar and its peer.

    Attributes:
        name: Identifier in snake case, for example `landing_rate_one_process`.
        value: What was measured.
        unit: Unit of `value` and `peer_value`, for example `msg/s`, `ms`, `rows`, `ratio`.
        better: Direction of improvement.
        bar: Value that must be held; None where the figure only informs.
        peer: Tool or naive method that was measured in the same run.
        peer_value: The peer's value.
        command: Command that gives this figure again.
    """

    name: str
    value: float
    unit: str
    better: Literal["higher", "lower", "equal"]
    bar: float | None = None
    peer: str | None = None
    peer_value: float | None = None
    command: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer; above 1 is better whatever the direction.

        >>> Figure("latency", 5.0, "ms", "lower", peer="naive", peer_value=20.0).ratio
        4.0
        """
        if self.peer_value is None or not self.value or not self.peer_value:
            return None
        lower_is_better = self.better == "lower"
        return self.peer_value / self.value if lower_is_better else self.value / self.peer_value

    @property
    def holds(self) -> bool | None:
        """Whether the bar is held; None where there is no bar."""
        if self.bar is None:
            return None
        if self.better == "equal":
            return self.value == self.bar
        return self.value >= self.bar if self.better == "higher" else self.value <= self.bar


def write_figures(path: Path, figures: Sequence[Figure]) -> Path:
    """Write figures as a JSON list to a file under `build/` (folders are made as needed)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(figure), "ratio": figure.ratio} for figure in figures]
    path.write_text(json.dumps(rows, indent=2) + "\n")
    return path


def figures_table(title: str, figures: Sequence[Figure]) -> Table:
    """The same figures as a table for the terminal."""
    table = Table(title=title, title_justify="left")
    for heading in ("figure", "value", "unit", "bar", "peer", "peer value", "ratio"):
        numeric = heading in {"value", "bar", "peer value", "ratio"}
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    styles = {True: "green", False: "red", None: ""}
    for figure in figures:
        table.add_row(
            figure.name,
            _number(figure.value),
            figure.unit,
            _number(figure.bar),
            figure.peer or "",
            _number(figure.peer_value),
            f"{figure.ratio:.2f} ×" if figure.ratio else "",
            style=styles[figure.holds],
        )
    return table


def report(name: str, figures: Sequence[Figure], folder: str = "bench") -> Path:
    """Print the figures and write them to `build/<folder>/<name>.json`; return the path."""
    path = write_figures(BUILD_DIR / folder / f"{name}.json", figures)
    Console(width=130).print(figures_table(name, figures))
    return path


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
