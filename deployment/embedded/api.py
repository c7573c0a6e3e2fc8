"""The opsgraph API as a process of the stack.

Add how it is run here. Avoid endpoints: those are in `orchestration.api`.
"""

import sys

from deployment.embedded import probes
from deployment.embedded.service import Port, Service
from orchestration.environment import PROJECT_ROOT


def command(port: int) -> tuple[str, ...]:
    """Arguments of the server process."""
    return (
        sys.executable, "-m", "uvicorn", "orchestration.api.app:create_app", "--factory",
        "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning",
    )  # fmt: skip


def answers(url: str) -> bool:
    """Whether the API calls itself ready."""
    reply = probes.request(f"{url}/health")
    return reply is not None and reply.is_success


def service(port: int) -> Service:
    """The API as a process of the stack."""
    url = f"http://127.0.0.1:{port}"
    return Service(
        name="api",
        command=command(port),
        is_ready=lambda _: answers(url),
        url=url,
        ports=(Port(port, "OPSGRAPH_API_PORT"),),
        directory=PROJECT_ROOT,
        start_order=2,
        stop_order=0,
    )
