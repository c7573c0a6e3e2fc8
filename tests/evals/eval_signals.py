"""Every public set of anomalies, forecasts, quality and life: figures into build/evals/signals.json.

`make evals ONLY=signals`; about three minutes.
"""

import json
from typing import Any

from typer.testing import CliRunner

from orchestration.cli import app
from orchestration.environment import Environment
from orchestration.figures import Figure, report

DATA = Environment().data_dir


def main() -> None:
    """Judge, report, and fail when a bar is not held."""
    skab, nab = _judged("skab", "skab/valve1"), _judged("nab", "nab")
    azure = _judged("azure-pdm-unlabelled", "azure_pdm")
    life, plates, ett = (
        _judged("cmapss", "cmapss"),
        _judged("steel-plates", "steel_plates"),
        _judged("ett", "ett"),
    )
    figures = [
        _figure("skab_f1", skab["f1"], "F1", "higher", 0.86, "skab", "always alarm", skab["always_alarm_f1"]),
        _figure("skab_far", skab["far_percent"], "%", "lower", 13.0, "skab"),
        _figure("skab_mar", skab["mar_percent"], "%", "lower", 17.0, "skab"),
        _figure("nab_standard", nab["score_standard"], "score", "higher", 52.0, "nab"),
        _figure(
            "azure_failures_seen_48h",
            azure["failures_seen_percent"],
            "%",
            "higher",
            90.0,
            "azure-pdm-unlabelled",
        ),
        _figure(
            "azure_alerts",
            azure["alerts_per_machine_month"],
            "per machine-month",
            "lower",
            0.8,
            "azure-pdm-unlabelled",
        ),
        _figure("steel_accuracy", plates["accuracy"], "share", "higher", 0.79, "steel-plates"),
        _figure("steel_macro_f1", plates["macro_f1"], "F1", "higher", 0.81, "steel-plates"),
        _figure(
            "ett_mse", ett["mse"], "squared sd", "lower", 0.030, "ett", "last value", ett["mse_last_value"]
        ),
        _figure(
            "ett_coverage_miss",
            abs(ett["coverage_percent"] - ett["nominal_percent"]),
            "%",
            "lower",
            3.0,
            "ett",
        ),
    ]
    figures += [
        _figure(name, value, "cycles", "lower", 12.5 if name == "rmse_fd001" else None, "cmapss")
        for name, value in life.items()
        if name.startswith("rmse_")
    ]
    report("signals", figures, folder="evals")
    if any(figure.holds is False for figure in figures):
        raise SystemExit("signals: a bar is not held")


def _figure(
    name: str,
    value: float,
    unit: str,
    better: Any,
    bar: float | None,
    verb: str,
    peer: str | None = None,
    peer_value: float | None = None,
) -> Figure:
    command = f"opsgraph eval {verb} PATH --json"
    return Figure(name, value, unit, better, bar, peer, peer_value, command)


def _judged(verb: str, folder: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["eval", verb, str(DATA / folder), "--json"])
    if result.exit_code:
        raise SystemExit(result.output)
    return json.loads(result.stdout)


if __name__ == "__main__":
    main()
