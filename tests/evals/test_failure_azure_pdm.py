"""`opsgraph eval azure-pdm` against the bars that the project states for this set."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli import app
from orchestration.figures import Figure, report

pytestmark = [pytest.mark.data, pytest.mark.slow]

COMMAND = "opsgraph eval azure-pdm $OPSGRAPH_DATA_DIR/azure_pdm --json"


@pytest.fixture(scope="module")
def judged(azure_pdm_dir: Path) -> dict[str, dict[str, float]]:
    """What the command prints."""
    result = CliRunner().invoke(app, ["eval", "azure-pdm", str(azure_pdm_dir), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_next_day_with_and_without_error_codes(judged: dict[str, dict[str, float]]) -> None:
    """Forbids falling below the stated bars; with error codes the precursors are nearly given away."""
    seen, withheld = judged["24h"], judged["24h_without_errors"]
    assert seen["event_recall"] >= 0.95
    assert seen["event_precision"] >= 0.90
    assert seen["ece"] <= 0.01
    assert seen["ece_risky"] <= 0.10
    assert seen["brier_skill_low"] > 0
    # 23 of 24 were measured: one or two failures less is chance.
    assert withheld["event_recall"] >= 0.85
    assert withheld["event_precision"] >= 0.40
    assert seen["error_24h_event_precision"] < 0.25


def test_harder_targets_are_reported_beside_it(judged: dict[str, dict[str, float]]) -> None:
    """Forbids hiding that the last day gives this set away: 24 to 48 h ahead, and 7 days, stand beside."""
    harder, week = judged["24-48h"], judged["168h"]
    assert harder["average_precision"] >= 0.60
    assert week["average_precision"] >= 0.42
    assert week["f1"] >= 0.38 > week["always_alarm_f1"]
    assert week["ece"] <= 0.04
    assert harder["base_rate"] < 0.03


def test_figures_are_written(judged: dict[str, dict[str, float]]) -> None:
    """Forbids an evaluation whose figures nobody can find: `build/evals/azure_pdm.json`."""
    seen, harder, week = judged["24h"], judged["24-48h"], judged["168h"]
    rule = "an error in the last 24 h"
    figures = [
        Figure("failure_event_recall_24h", seen["event_recall"], "share", "higher", 0.95, command=COMMAND),
        Figure(
            "failure_event_precision_24h",
            seen["event_precision"],
            "share",
            "higher",
            0.90,
            rule,
            seen["error_24h_event_precision"],
            COMMAND,
        ),
        Figure("failure_ece_24h", seen["ece"], "probability", "lower", 0.01, command=COMMAND),
        Figure("failure_ap_24_48h", harder["average_precision"], "AP", "higher", 0.60, command=COMMAND),
        Figure("failure_ap_7d", week["average_precision"], "AP", "higher", 0.42, command=COMMAND),
        Figure(
            "failure_f1_7d",
            week["f1"],
            "F1",
            "higher",
            0.38,
            "always alarm",
            week["always_alarm_f1"],
            COMMAND,
        ),
        Figure("failure_ece_7d", week["ece"], "probability", "lower", 0.04, command=COMMAND),
        Figure(
            "failure_event_recall_24h_without_errors",
            judged["24h_without_errors"]["event_recall"],
            "share",
            "higher",
            0.95,
            command=COMMAND,
        ),
    ]
    written = json.loads(report("azure_pdm", figures, folder="evals").read_text())
    assert [row["name"] for row in written] == [figure.name for figure in figures]
