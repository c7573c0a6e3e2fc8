"""Pictures of a run: precision-recall, reliability, what the model looks at.

Figures are drawn without pyplot, which keeps global state that two threads would share.
"""

# matplotlib types its keyword arguments as unknown.
# pyright: reportUnknownMemberType=false

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ml.evaluation.report import EvaluationReport, OutOfFold
from ml.models.failure import FailureModel


def precision_recall_figure(found: OutOfFold, report: EvaluationReport) -> Figure:
    """Precision over recall by machine-hour, with the error rule as a point."""
    order = np.argsort(-found.probability, kind="stable")
    hits = np.cumsum(found.is_failure[order])
    recall, precision = hits / max(hits[-1], 1), hits / np.arange(1, len(hits) + 1)
    figure = _figure()
    axes = figure.subplots()
    axes.plot(recall, precision, label=f"model, average precision {report.average_precision}")
    rule = found.has_recent_error
    if rule.any():
        right = found.is_failure[rule].sum()
        axes.plot(
            right / max(hits[-1], 1),
            right / rule.sum(),
            "o",
            color="tab:red",
            label="an error in the last 24 h",
        )
    axes.axhline(report.base_rate, color="grey", linestyle=":", label=f"base rate {report.base_rate:.3f}")
    axes.set(xlabel="recall (machine-hours)", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.set_title(f"Failure within {report.horizon_hours} h, out-of-fold")
    axes.legend(loc="lower left")
    return figure


def reliability_figure(report: EvaluationReport) -> Figure:
    """Observed failure rate over predicted probability; the area of a point is its number of rows."""
    figure = _figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    said = [found.mean_probability for found in report.bins]
    seen = [found.observed_rate for found in report.bins]
    size = [12 + 8 * np.log1p(found.rows) for found in report.bins]
    axes.scatter(said, seen, s=size)
    axes.set(xlabel="predicted probability", ylabel="observed rate", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_title(f"ECE {report.ece:.4f}; above 0.1: {report.ece_risky:.3f} ({report.risky_rows} rows)")
    return figure


def importance_figure(model: FailureModel, top: int = 20) -> Figure:
    """Total gain of the most important features."""
    gain = {name: float(value) for name, value in _total_gain(model).items()}
    best = sorted(gain.items(), key=lambda item: item[1])[-top:]
    figure = _figure()
    axes = figure.subplots()
    axes.barh([name for name, _ in best], [value for _, value in best])
    axes.set(xlabel="total gain")
    axes.tick_params(axis="y", labelsize=7)
    return figure


def _total_gain(model: FailureModel) -> dict[str, float]:
    # XGBoost types the scores as one number or one per class; binary models have one.
    scores = model.booster.get_score(importance_type="total_gain")
    return {name: value for name, value in scores.items() if isinstance(value, float)}


def _figure() -> Figure:
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
