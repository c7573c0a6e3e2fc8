"""The verbs `simulate` and `replay`: what they refuse and what they print."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from orchestration.commands.sources import parse_instant, parse_speed, register, report_table
from orchestration.ingest.sources import SourceReport

app = typer.Typer()
register(app)
runner = CliRunner()


def test_speed_is_max_or_a_positive_factor() -> None:
    """Forbids a speed that is silently read as `max`."""
    assert parse_speed("max") is None
    assert parse_speed("3600") == 3600.0
    for text in ("fast", "0", "-1", "nan"):
        with pytest.raises(typer.BadParameter):
            parse_speed(text)


def test_instant_without_a_zone_is_utc() -> None:
    """Forbids a stop that depends on where the machine stands."""
    expected = datetime(2015, 2, 1, tzinfo=UTC)
    assert parse_instant("2015-02-01") == parse_instant("2015-02-01T01:00:00+01:00") == expected
    with pytest.raises(typer.BadParameter):
        parse_instant("tomorrow")


def test_simulate_wants_days_or_hours() -> None:
    """Forbids a run of unknown length."""
    for arguments in ([], ["--days", "1", "--hours", "1"], ["--days", "0"]):
        result = runner.invoke(app, ["simulate", *arguments])
        assert result.exit_code == 2
        assert "--days or --hours" in result.output


def test_replay_of_a_wrong_folder_says_so_and_fails(tmp_path: Path) -> None:
    """Forbids a stack trace where a person gave the wrong folder."""
    result = runner.invoke(app, ["replay", "azure-pdm", str(tmp_path)])
    assert result.exit_code == 1
    assert "Nothing was sent" in result.output
    assert "Traceback" not in result.output


def test_report_says_when_nothing_was_new() -> None:
    """Forbids a second run that looks like it sent the history again."""
    start, end = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 5, 5, tzinfo=UTC)
    console = Console(record=True, width=100)
    console.print(
        report_table(SourceReport("simulator/demo-plant/7", "demo-plant", start, end, {"a": 1_200}))
    )
    console.print(report_table(SourceReport("simulator/demo-plant/7", "demo-plant", end, end, {"a": 0})))
    text = console.export_text()
    assert "2026-01-05 00:00 to 2026-05-05 00:00 UTC" in text
    assert "1,200" in text
    assert "no news before 2026-05-05 00:00 UTC" in text
