"""Plots of the executive report as SVG text, drawn without a display.

Avoid queries here.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 7.0, 2.6  # inches: two plots beside each other on a printed page


def line_plot(series: Mapping[str, tuple[Sequence[Any], Sequence[float]]], label: str) -> str:
    """One line per name.

    Args:
        series: Name → days and values.
        label: Of the values.
    """
    figure, axes = _axes(label)
    for name, (days, values) in series.items():
        axes.plot(list(days), list(values), marker=".", label=name)
    axes.legend(loc="best", frameon=False, fontsize="small")
    figure.autofmt_xdate()
    return _svg(figure)


def bar_plot(bars: Mapping[str, float], label: str) -> str:
    """One horizontal bar per name, the first on top."""
    figure, axes = _axes("")
    names = list(bars)[::-1]
    axes.barh(names, [bars[name] for name in names], color="#33658a")
    axes.set_xlabel(label)
    return _svg(figure)


def _axes(label: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    FigureCanvasSVG(figure)
    axes: Any = figure.add_subplot()
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # Without a date and with fixed ids, equal figures give equal bytes.
    figure.savefig(  # pyright: ignore[reportUnknownMemberType]
        buffer, format="svg", metadata={"Date": None}
    )
    text = buffer.getvalue()
    return text[text.index("<svg") :]
