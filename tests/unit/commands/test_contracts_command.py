"""`opsgraph contracts …` on a copy of the repository: what it prints and how it exits."""

import shutil
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from orchestration.cli import app
from orchestration.commands import contracts
from orchestration.environment import PROJECT_ROOT

FOLDERS = (
    "orchestration/ingest/contracts",
    "orchestration/migrations/versions",
    "dbt_project/models",
    "dbt_project/macros/generated",
    "ml/features/generated",
    "ml/validation/generated",
)
CONTRACT = "orchestration/ingest/contracts/equipment-sensors.odcs.yaml"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that the commands take for the project."""
    for folder in FOLDERS:
        shutil.copytree(PROJECT_ROOT / folder, tmp_path / folder)
    monkeypatch.setattr(contracts, "PROJECT_ROOT", tmp_path)
    return tmp_path


def opsgraph(*arguments: str) -> Result:
    """Run the command line."""
    return CliRunner().invoke(app, ["contracts", *arguments])


@pytest.fixture(autouse=True)
def wide_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """A console of one width: rich takes COLUMNS of whoever imports first."""
    monkeypatch.setattr(contracts, "console", Console(width=200))


def test_check_fails_with_a_list_until_sync_was_run(repository: Path) -> None:
    """Forbids a CI step that is green over stale files, or red without saying which."""
    path = repository / CONTRACT
    path.write_text(path.read_text().replace("Spindle speed.", "Speed of the spindle."))

    stale, written, checked, again = [
        opsgraph(*a) for a in (["sync", "--check"], ["sync"], ["sync", "--check"], ["sync"])
    ]

    assert stale.exit_code == 1
    assert "stale    ml/features/generated/metrics.json" in stale.output
    assert "updated  ml/features/generated/metrics.json" in written.output
    assert (written.exit_code, checked.exit_code, again.exit_code) == (0, 0, 0)
    assert "nothing to do" in again.output


def test_a_wrong_contract_is_shown_with_file_and_field_and_nothing_is_written(repository: Path) -> None:
    """Forbids a traceback where a sentence is needed."""
    path = repository / CONTRACT
    path.write_text(path.read_text().replace("name: power_kw", "name: Power"))

    result = opsgraph("lint")

    assert result.exit_code == 1
    assert "equipment-sensors.odcs.yaml: Power: is no column name" in result.output
    assert "Nothing was written." in result.output


def test_show_lists_topics_and_the_fields_of_one() -> None:
    """Forbids a listing that hides the rules: unit, range and mode are what a plant looks for."""
    topics, fields, unknown = (
        opsgraph("show"),
        opsgraph("show", "equipment-sensors"),
        opsgraph("show", "sensors"),
    )

    assert "equipment-sensors" in topics.output
    assert "tenant_id/equipment_id" in topics.output
    assert "0 … 100" in fields.output
    assert "mm/s" in fields.output
    assert "discard_value" in fields.output
    assert unknown.exit_code == 1
    assert "No contract for topic sensors; known are equipment-sensors" in unknown.output
