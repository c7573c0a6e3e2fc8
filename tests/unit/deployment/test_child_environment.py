"""Every process of the stack sees the settings of the one that started it."""

from pathlib import Path

import pytest

from deployment.embedded.child_environment import (
    STACK_VARIABLE,
    TELEMETRY_OFF,
    child_environment,
    settings_variables,
)
from orchestration.environment import Environment


def test_settings_survive_the_way_to_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a setting that a child reads differently, for example a flag that turns into text."""
    original = Environment(
        state_dir=tmp_path / "state",
        kafka_port=19092,
        fsync=False,
        mlflow_tracking_uri_setting="http://m:5000",
    )
    for name, value in settings_variables(original).items():
        monkeypatch.setenv(name, value)
    assert Environment() == original


def test_relative_state_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids children in other working folders with a state folder of their own each."""
    monkeypatch.chdir(tmp_path)
    variables = child_environment(Environment(state_dir=Path("state")), {})
    assert variables["OPSGRAPH_HOME"] == str(tmp_path / "state")
    assert variables[STACK_VARIABLE] == variables["OPSGRAPH_HOME"]
    assert variables["DAGSTER_HOME"] == str(tmp_path / "state" / "dagster")


def test_callers_settings_do_not_leak(tmp_path: Path) -> None:
    """Forbids the caller's DATABASE_URL in a stack whose own Postgres is embedded."""
    parent = {"DATABASE_URL": "postgresql://elsewhere/x", "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/bin"}
    environment = Environment(state_dir=tmp_path, database_url_setting=None)
    variables = child_environment(environment, parent)
    assert "DATABASE_URL" not in variables
    assert "PYTHONDONTWRITEBYTECODE" not in variables
    assert variables["PATH"] == "/bin"


def test_telemetry_is_off_whatever_the_caller_has(tmp_path: Path) -> None:
    """Forbids a tool that reports home because a variable of the caller won."""
    variables = child_environment(Environment(state_dir=tmp_path), {"MLFLOW_DISABLE_TELEMETRY": "false"})
    assert TELEMETRY_OFF.items() <= variables.items()
