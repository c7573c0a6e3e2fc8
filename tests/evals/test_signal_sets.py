"""The public sets of anomalies against the stated bars; the dearer sets are in `eval_signals`."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestration.cli import app
from tests.conftest import real_data

pytestmark = [pytest.mark.data]


def _judged(verb: str, folder: Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["eval", verb, str(folder), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_skab() -> None:
    """Forbids falling below the stated rates, or an F1 that always alarming would reach too."""
    found = _judged("skab", real_data("skab") / "valve1")
    assert found["f1"] >= 0.86
    assert found["far_percent"] <= 13
    assert found["mar_percent"] <= 17
    assert found["always_alarm_f1"] < 0.75


def test_nab() -> None:
    """Forbids a standard-profile score below the bar; labels go to the scorer only."""
    found = _judged("nab", real_data("nab"))
    assert found["score_standard"] >= 52
    assert set(found["by_category"]) == {"realKnownCause"}


def test_azure_without_labels(azure_pdm_dir: Path) -> None:
    """Forbids more alerts for the same failures: 90 % seen at 0.8 alerts per machine-month."""
    found = _judged("azure-pdm-unlabelled", azure_pdm_dir)
    assert found["failures_seen_percent"] >= 90
    assert found["alerts_per_machine_month"] <= 0.8
    assert found["curve_without_error_counts"]
