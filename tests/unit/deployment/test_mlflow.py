"""The MLflow application gets from us what `mlflow server` would have given it."""

from pathlib import Path
from typing import Any

import pytest

from deployment.embedded import mlflow as embedded


def test_variables_are_those_of_the_installed_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Forbids private variable names that a newer MLflow has changed: it would fall back to ./mlruns."""
    from mlflow import server
    from mlflow.tracing import trace_rollup_service

    captured: dict[str, Any] = {}

    class StartedError(Exception):
        pass

    def capture(command: list[str], extra_env: dict[str, str], **_: Any) -> None:
        captured.update(command=command, variables=extra_env)
        raise StartedError

    monkeypatch.setattr(server, "_exec_cmd", capture)
    # It connects to the database, and there is none here.
    monkeypatch.setattr(trace_rollup_service, "validate_sql_trace_rollup_startup", lambda _: None)
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    database_url = "postgresql+psycopg2://postgres@127.0.0.1:1/mlflow"
    with pytest.raises(StartedError):
        server._run_server(
            file_store_path=database_url, registry_store_uri=database_url,
            default_artifact_root="mlflow-artifacts:/", serve_artifacts=True, artifacts_only=False,
            artifacts_destination=tmp_path.as_uri(), host="127.0.0.1", port=5000, workers=1,
        )  # fmt: skip
    given = captured["variables"]
    # Made anew at each start, to tell sandboxes of scorers apart, which are off here; and a marker that
    # is set to what it is when absent.
    expected = {
        name: given[name] for name in given.keys() - {"_MLFLOW_SERVER_BOOT_ID", "_MLFLOW_IN_JOB_EXECUTOR"}
    }
    ours = embedded.server_variables(database_url, tmp_path)
    assert {name: ours.get(name) for name in expected} == expected
    assert captured["command"][-1] == embedded.command(5000)[3]


def test_health_of_the_page_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids readiness that does not reach the database."""
    asked: list[str] = []
    monkeypatch.setattr(embedded.probes, "post_json", lambda url, *_: asked.append(url))
    assert not embedded.answers("http://x")
    assert asked == ["http://x/api/2.0/mlflow/experiments/search"]
