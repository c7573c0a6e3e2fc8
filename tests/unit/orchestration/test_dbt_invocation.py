"""Arguments and environment of dbt, and when its manifest is parsed again."""

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from orchestration import dbt_invocation
from orchestration.dbt_invocation import (
    WarehouseError,
    as_of_schema,
    build_arguments,
    dbt_environment,
    ensure_manifest,
    parse_as_of,
    process_environment,
    project_digest,
    prune_runs,
    target_dir,
)

STATE = Path("/state")


def test_environment_takes_every_part_of_the_url() -> None:
    """Forbids a password that reaches dbt percent-encoded, and a variable that dbt would print."""
    variables = dbt_environment("postgresql://op%40plant:p%2Fw@db.example:6543/plant?sslmode=require", STATE)
    assert variables["OPSGRAPH_DBT_HOST"] == "db.example"
    assert variables["OPSGRAPH_DBT_PORT"] == "6543"
    assert variables["OPSGRAPH_DBT_USER"] == "op@plant"
    assert variables["DBT_ENV_SECRET_OPSGRAPH_PASSWORD"] == "p/w"
    assert variables["OPSGRAPH_DBT_DATABASE"] == "plant"
    assert variables["OPSGRAPH_DBT_SSLMODE"] == "require"


def test_profile_reads_every_variable_that_is_passed() -> None:
    """Forbids a setting that is passed and never read: the profile names each OPSGRAPH variable."""
    profile = (dbt_invocation.DBT_PROJECT_DIR / "profiles.yml").read_text()
    passed = [name for name in dbt_environment("postgresql://h/d", STATE) if "OPSGRAPH" in name]
    assert [name for name in passed if name not in profile] == []


def test_environment_switches_telemetry_off() -> None:
    """Forbids dbt from calling home."""
    variables = dbt_environment("postgresql://h/d", STATE)
    assert variables["DBT_SEND_ANONYMOUS_USAGE_STATS"] == "false"
    assert variables["DBT_VERSION_CHECK"] == "false"


def test_dbt_process_may_write_byte_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a start of dbt that compiles itself anew each time, and the loss of the caller's variables."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PLANT", "north")
    environment = process_environment({"A": "b"})
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert (environment["PLANT"], environment["A"]) == ("north", "b")


@pytest.mark.parametrize("url", ["postgresql:///plant", "postgresql://db.example"])
def test_incomplete_url_is_refused(url: str) -> None:
    """Forbids a build against dbt's defaults, which could be another database."""
    with pytest.raises(WarehouseError, match="DATABASE_URL"):
        dbt_environment(url, STATE)


def test_as_of_is_one_instant_however_it_is_written() -> None:
    """Forbids two schemas, or a shifted one, for the same instant: 01:00 in +01:00 is midnight UTC."""
    midnight = datetime(2015, 3, 1, tzinfo=UTC)
    assert parse_as_of("2015-03-01T00:00:00Z") == parse_as_of("2015-03-01") == midnight
    shifted = midnight.astimezone(timezone(timedelta(hours=1)))
    assert build_arguments(as_of=shifted) == build_arguments(as_of=midnight)
    assert as_of_schema("marts", shifted) == "asof_20150301t000000_marts"


def test_as_of_that_is_no_instant_is_refused() -> None:
    """Forbids a silent build of everything when the instant can't be read."""
    with pytest.raises(WarehouseError, match="ISO 8601"):
        parse_as_of("yesterday")


def test_build_arguments_carry_selection_and_variables() -> None:
    """Forbids a variable that dbt reads as YAML of another type: the instant is a JSON string."""
    arguments = build_arguments(["+a", "b"], datetime(2015, 3, 1, tzinfo=UTC), full_refresh=True)
    assert arguments[:4] == ["build", "--select", "+a", "+b"]
    assert "--full-refresh" in arguments
    assert json.loads(arguments[arguments.index("--vars") + 1]) == {"as_of": "2015-03-01T00:00:00Z"}


def test_as_of_build_brings_what_a_model_reads() -> None:
    """Forbids an as-of build of one mart that fails on the empty schema below it."""
    assert build_arguments(["b"])[2] == "b"
    assert build_arguments(["b"], datetime(2015, 3, 1, tzinfo=UTC))[2] == "+b"


def test_old_runs_are_pruned_and_the_kept_parse_stays(tmp_path: Path) -> None:
    """Forbids 200 MB a day of artefacts, and the loss of the parse that makes dbt start fast."""
    for number in range(4):
        run = tmp_path / f"run-{number}"
        run.mkdir()
        (run / "dbt.log").touch()
        os.utime(run, (number, number))
    (tmp_path / "manifest.json").touch()
    (tmp_path / "compiled").mkdir()
    assert prune_runs(tmp_path, keep=2) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"run-2", "run-3", "manifest.json", "compiled"}


def test_as_of_build_keeps_its_own_parse() -> None:
    """Forbids that an as-of build voids the parse of the hourly one, which then costs 5 s more."""
    assert target_dir(STATE) != target_dir(STATE, datetime(2015, 3, 1, tzinfo=UTC))


def test_digest_follows_the_files_that_dbt_parses(tmp_path: Path) -> None:
    """Forbids a stale manifest after an edit, and a parse after every log line."""
    (tmp_path / "models").mkdir()
    model = tmp_path / "models" / "a.sql"
    model.write_text("select 1")
    before = project_digest(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "x.yml").write_text("x")
    assert project_digest(tmp_path) == before
    model.write_text("select 2")
    assert project_digest(tmp_path) != before


def test_manifest_is_parsed_once_per_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a parse at each load of the code location: 5 s instead of milliseconds."""
    calls: list[list[str]] = []

    def fake_dbt(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        (tmp_path / "manifest.json").write_text("{}")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", fake_dbt)
    assert ensure_manifest(os.environ, tmp_path) == tmp_path / "manifest.json"
    ensure_manifest(os.environ, tmp_path)
    assert len(calls) == 1
    monkeypatch.setattr(dbt_invocation, "project_digest", lambda: "edited")
    ensure_manifest(os.environ, tmp_path)
    assert len(calls) == 2


def test_failed_parse_leaves_no_manifest_that_looks_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids a broken project that loads by its old manifest, and hides dbt's message."""
    broken = subprocess.CompletedProcess([], 2, "Compilation Error in model a", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: broken)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(WarehouseError, match="Compilation Error in model a"):
        ensure_manifest(os.environ, tmp_path)
    assert not (tmp_path / "project.sha256").exists()
