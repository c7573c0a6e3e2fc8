"""Dagster's own reading of the generated files, and readiness that a dead daemon cannot fake."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config

from deployment.embedded import dagster, probes

DATABASE_URL = "postgresql+psycopg2://postgres@127.0.0.1:5432/dagster"


def test_dagster_accepts_the_instance_file(tmp_path: Path) -> None:
    """Forbids a setting that the installed Dagster does not know: it refuses the whole file."""
    dagster.initialise(tmp_path, DATABASE_URL, 4266)
    settings, _ = dagster_instance_config(str(tmp_path))
    assert settings["telemetry"] == {"enabled": False}
    assert settings["storage"]["postgres"]["postgres_url"] == DATABASE_URL
    assert settings["run_coordinator"]["config"]["dequeue_interval_seconds"] == 1


def test_compute_logs_stay_in_the_state_folder(tmp_path: Path) -> None:
    """Forbids logs of runs in a temporary folder that the next start does not find."""
    settings = dagster.instance_settings(tmp_path, DATABASE_URL)
    for part in ("compute_logs", "local_artifact_storage"):
        assert Path(settings[part]["config"]["base_dir"]).is_relative_to(tmp_path)


def test_web_ui_reads_the_code_server(tmp_path: Path) -> None:
    """Forbids a web UI and a daemon that load the code a second and a third time by themselves."""
    workspace = yaml.safe_load(dagster.initialise(tmp_path, DATABASE_URL, 4999).read_text())
    server = workspace["load_from"][0]["grpc_server"]
    assert (server["port"], server["location_name"]) == (4999, "orchestration")


def heartbeats(*times: float | None) -> dict[str, Any]:
    statuses = [{"daemonType": "X", "required": True, "lastHeartbeatTime": time} for time in times]
    return {"data": {"instance": {"daemonHealth": {"allDaemonStatuses": statuses}}}}


@pytest.mark.parametrize(
    ("answer", "is_ready"),
    [
        (heartbeats(101.0, 102.0), True),
        (heartbeats(101.0, 99.0), False),  # one thread last beat before the process started at 100
        (heartbeats(101.0, None), False),
        (heartbeats(), False),
        ({"errors": [{"message": "no"}], "data": None}, False),
        (None, False),
    ],
)
def test_only_heartbeats_of_this_life_count(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | None, is_ready: bool
) -> None:
    """Forbids a daemon that counts as ready because its forerunner was alive within half an hour."""
    monkeypatch.setattr(probes, "post_json", lambda *_, **__: answer)
    assert dagster.daemon_is_beating("http://x", since=100.0) is is_ready


@pytest.mark.parametrize(
    ("kind", "status", "is_ready"),
    [
        ("RepositoryLocation", "LOADED", True),
        ("PythonError", "LOADED", False),
        ("RepositoryLocation", "LOADING", False),
    ],
)
def test_location_with_an_error_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, kind: str, status: str, is_ready: bool
) -> None:
    """Forbids a web UI that is called ready while it shows a load error."""
    entry = {"loadStatus": status, "locationOrLoadError": {"__typename": kind}}
    answer = {"data": {"workspaceOrError": {"locationEntries": [entry]}}}
    monkeypatch.setattr(probes, "post_json", lambda *_, **__: answer)
    assert dagster.location_is_loaded("http://x") is is_ready
