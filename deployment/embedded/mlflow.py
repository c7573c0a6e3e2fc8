"""The embedded MLflow server: its ASGI application under uvicorn, in one process.

`mlflow server` would start a parent, a uvicorn and job consumers. A `kill -9` of that parent leaves
children that hold the port, and the three together take twice the memory. The variables below are
those that it hands to its own workers; a unit test compares them with the installed version's.
Add settings of the server here. Avoid clients: those are in `ml.registry`.
"""

import sys
from pathlib import Path

from deployment.embedded import probes
from deployment.embedded.service import Port, Service

FIRST_MIGRATION_TIMEOUT_S = 30.0  # the first call creates 40 tables; that takes 3 to 8 s here


def command(port: int) -> tuple[str, ...]:
    """Arguments of the server process."""
    return (
        sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app",
        "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning",
    )  # fmt: skip


def server_variables(database_url: str, artifacts_dir: Path) -> dict[str, str]:
    """What the application reads at import: stores, artefact proxy, no job consumers.

    Args:
        database_url: SQLAlchemy URL of MLflow's database, with its driver.
        artifacts_dir: Folder that the server's artefact proxy serves.
    """
    return {
        "_MLFLOW_SERVER_FILE_STORE": database_url,
        "_MLFLOW_SERVER_REGISTRY_STORE": database_url,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts_dir.as_uri(),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def answers(url: str, timeout_s: float = 2.0) -> bool:
    """Whether a search of experiments works: `/health` answers before the database does."""
    found = probes.post_json(f"{url}/api/2.0/mlflow/experiments/search", {"max_results": 1}, timeout_s)
    return found is not None


def service(state_dir: Path, port: int, database_url: str) -> Service:
    """The server as a process of the stack."""
    url = f"http://127.0.0.1:{port}"
    artifacts_dir = state_dir / "mlflow" / "artifacts"
    return Service(
        name="mlflow",
        command=command(port),
        is_ready=lambda _: answers(url, FIRST_MIGRATION_TIMEOUT_S),
        url=url,
        ports=(Port(port, "OPSGRAPH_MLFLOW_PORT"),),
        prepare=lambda: artifacts_dir.mkdir(parents=True, exist_ok=True),
        environment=server_variables(database_url, artifacts_dir),
        directory=state_dir,
        start_order=1,
        stop_order=1,
    )
