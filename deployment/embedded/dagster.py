"""Dagster as three processes of the stack: code server, web UI and daemon.

Add settings of the instance (`dagster.yaml`) here. Avoid definitions: those are in `orchestration.defs`.
"""

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from deployment.embedded import probes
from deployment.embedded.service import Port, Service
from orchestration.environment import PROJECT_ROOT

LOCATION = "orchestration"
CODE_MODULE = "orchestration.definitions"
CODE_SERVER = "orchestration.code_server"

# A run and its database keep two cores busy: a second run beside it made both take twice as long.
MAX_CONCURRENT_RUNS = max(1, (os.cpu_count() or 2) // 2)

_LOCATIONS = """
{
  workspaceOrError {
    ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename } } }
  }
}
"""
_DEAD_RUNS = """
query DeadRuns($before: Float!) {
  runsOrError(filter: {statuses: [STARTING, STARTED, CANCELING], updatedBefore: $before}) {
    ... on Runs { results { runId } }
  }
}
"""
_CANCEL = """
mutation Cancel($runIds: [String!]!) {
  terminateRuns(runIds: $runIds, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) { __typename }
}
"""
_HEARTBEATS = """
{ instance { daemonHealth { allDaemonStatuses { daemonType required lastHeartbeatTime } } } }
"""


def instance_settings(home: Path, database_url: str) -> dict[str, Any]:
    """Content of `dagster.yaml`.

    Args:
        home: `DAGSTER_HOME`.
        database_url: SQLAlchemy URL of Dagster's database. It names its driver, because SQLAlchemy
            2.1 takes a bare `postgresql://` for psycopg 3 and the web UI then answers 500.
    """
    local = "dagster.core.storage"
    return {
        "storage": {"postgres": {"postgres_url": database_url}},
        "local_artifact_storage": {
            "module": f"{local}.root", "class": "LocalArtifactStorage",
            "config": {"base_dir": str(home / "storage")},
        },
        "compute_logs": {
            "module": f"{local}.local_compute_log_manager", "class": "LocalComputeLogManager",
            "config": {"base_dir": str(home / "compute_logs")},
        },
        "run_launcher": {"module": "dagster", "class": "DefaultRunLauncher"},
        "run_coordinator": {
            "module": "dagster", "class": "QueuedRunCoordinator",
            # The default of 5 s is most of the time between a click and its result.
            "config": {"dequeue_interval_seconds": 1, "dequeue_use_threads": True},
        },
        "concurrency": {
            "runs": {"max_concurrent_runs": MAX_CONCURRENT_RUNS},
            "pools": {"granularity": "op", "default_limit": 1},
        },
        "run_retries": {"enabled": True, "max_retries": 0},  # a job asks for retries with its tag
        "run_monitoring": {"enabled": True, "start_timeout_seconds": 180, "poll_interval_seconds": 30},
        "sensors": {"use_threads": True, "num_workers": 4},
        "schedules": {"use_threads": True, "num_workers": 2},
        "backfills": {"use_threads": True, "num_workers": 2},
        "auto_materialize": {"use_sensors": True},
        "freshness": {"enabled": True},
        "retention": {
            "schedule": {"purge_after_days": 90},
            # A lag sensor ticks 17,000 times a day; nearly all of those are skips.
            "sensor": {"purge_after_days": {"skipped": 2, "success": 30, "failure": 90}},
            "auto_materialize": {"purge_after_days": {"skipped": 2, "success": 30, "failure": 90}},
        },
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }  # fmt: skip


def workspace_settings(code_port: int) -> dict[str, Any]:
    """Content of the workspace file: one code server over gRPC."""
    server = {"host": "127.0.0.1", "port": code_port, "location_name": LOCATION}
    return {"load_from": [{"grpc_server": server}]}


def initialise(home: Path, database_url: str, code_port: int) -> Path:
    """Write `dagster.yaml` and the workspace file; return the latter's path."""
    home.mkdir(parents=True, exist_ok=True)
    instance = home / "dagster.yaml"
    instance.touch(mode=0o600)  # an external database's password may be in its URL
    instance.write_text(yaml.safe_dump(instance_settings(home, database_url), sort_keys=False))
    workspace = home / "workspace.yaml"
    workspace.write_text(yaml.safe_dump(workspace_settings(code_port), sort_keys=False))
    return workspace


def code_server_answers(port: int, timeout_s: float = 5.0) -> bool:
    """Whether the code server reports itself as serving: it does so after its code has loaded."""
    if not probes.listens("127.0.0.1", port):  # grpc takes a second to give up on a closed port
        return False
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            check = HealthStub(channel).Check  # pyright: ignore[reportAttributeAccessIssue] - generated code
            reply = check(HealthCheckRequest(service="DagsterApi"), timeout=timeout_s)
        except grpc.RpcError:
            return False
    return reply.status == HealthCheckResponse.SERVING


def location_is_loaded(url: str) -> bool:
    """Whether the web UI has loaded the code location without an error."""
    answer = probes.post_json(f"{url}/graphql", {"query": _LOCATIONS}, timeout_s=5.0)
    entries = ((answer or {}).get("data") or {}).get("workspaceOrError", {}).get("locationEntries", [])
    return bool(entries) and all(
        entry["loadStatus"] == "LOADED"
        and (entry["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation"
        for entry in entries
    )


def daemon_is_beating(url: str, since: float) -> bool:
    """Whether every required daemon thread has sent a heartbeat after an instant.

    Dagster calls a heartbeat of the last 30 minutes healthy, so that of a dead daemon too.
    """
    answer = probes.post_json(f"{url}/graphql", {"query": _HEARTBEATS}, timeout_s=5.0)
    try:
        statuses = (answer or {})["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
    except (KeyError, TypeError):
        return False
    beats = [_seconds(status["lastHeartbeatTime"]) for status in statuses if status["required"]]
    return bool(beats) and min(beats) >= since


def cancel_dead_runs(url: str, before: float) -> list[str]:
    """Mark the runs of an earlier life of the stack as cancelled; return their ids.

    Runs are children of the code server, so none can have outlived a stop of the whole stack. Dagster's
    default launcher has no way to see that, and they would hold their places in the queue for ever.

    Args:
        url: Address of the web UI.
        before: Start of this life, seconds since the epoch; runs that changed later are left alone.
    """
    query = {"query": _DEAD_RUNS, "variables": {"before": before}}
    answer = probes.post_json(f"{url}/graphql", query, timeout_s=10.0)
    runs = ((answer or {}).get("data") or {}).get("runsOrError", {}).get("results", [])
    run_ids = [str(run["runId"]) for run in runs]
    if run_ids:
        mutation = {"query": _CANCEL, "variables": {"runIds": run_ids}}
        probes.post_json(f"{url}/graphql", mutation, timeout_s=30.0)
    return run_ids


def _seconds(heartbeat: float | str | None) -> float:
    if heartbeat is None:
        return 0.0
    return datetime.fromisoformat(heartbeat).timestamp() if isinstance(heartbeat, str) else float(heartbeat)


def services(home: Path, database_url: str, port: int, code_port: int) -> tuple[Service, ...]:
    """Code server, web UI and daemon.

    The code server comes first: a web UI that starts without it shows a load error for 10 s.
    """
    url = f"http://127.0.0.1:{port}"
    workspace = str(home / "workspace.yaml")
    run = (sys.executable, "-m")
    code_server = Service(
        name="dagster-code",
        command=(
            *run, CODE_SERVER, "api", "grpc", "--module-name", CODE_MODULE, "--location-name", LOCATION,
            "--host", "127.0.0.1", "--port", str(code_port), "--working-directory", str(PROJECT_ROOT),
        ),
        is_ready=lambda _: code_server_answers(code_port),
        url=f"grpc://127.0.0.1:{code_port}",
        ports=(Port(code_port, "OPSGRAPH_DAGSTER_CODE_PORT"),),
        prepare=lambda: initialise(home, database_url, code_port),
        directory=PROJECT_ROOT,
        start_order=1,
        stop_order=1,
    )  # fmt: skip
    webserver = Service(
        name="dagster-webserver",
        command=(*run, "dagster_webserver", "--host", "127.0.0.1", "--port", str(port), "-w", workspace),
        is_ready=lambda _: location_is_loaded(url),
        url=url,
        ports=(Port(port, "OPSGRAPH_DAGSTER_PORT"),),
        directory=PROJECT_ROOT,
        start_order=2,
        stop_order=0,
    )
    daemon = Service(
        name="dagster-daemon",
        command=(*run, "dagster._daemon", "run", "-w", workspace),
        is_ready=lambda started_at: daemon_is_beating(url, started_at),
        url=f"{url}/health",
        directory=PROJECT_ROOT,
        start_order=2,
        stop_order=0,
    )
    return (code_server, webserver, daemon)
