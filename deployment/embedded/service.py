"""One process of the embedded stack: how it is started, when it is ready, how it stops.

Add a field here when the supervisor and the tests both need to know it about every process.
Avoid knowledge of one service: that stands in the service's own module.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


class ServiceError(RuntimeError):
    """A process of the stack did not start or did not become ready; the message says what to do."""


@dataclass(frozen=True)
class Service:
    """How to run one process.

    Attributes:
        name: Name in logs, supervisor and `opsgraph status`.
        command: Full argument list; the first element is an absolute path.
        is_ready: Returns True once the service answers its own protocol.
        environment: Variables added to the parent's environment.
        directory: Working folder.
        user: System user to run as; None keeps the caller's.
        stop_signal: Signal for an orderly stop.
        start_order: Services of a lower number are ready before those of a higher one start.
        start_timeout_s: Seconds until a service that is not ready counts as failed.
    """

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = Path("/")
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    start_order: int = 0
    start_timeout_s: float = 60.0


def wait_until_ready(service: Service, is_alive: Callable[[], bool], log_file: Path) -> float:
    """Block until the service is ready; return the seconds that it took.

    Raises:
        ServiceError: The process ended, or `start_timeout_s` passed. Names the log file.
    """
    started = time.monotonic()
    while not service.is_ready():
        if not is_alive():
            raise ServiceError(
                f"{service.name} ended while starting; its last lines:\n{_tail(log_file)}\nSee {log_file}"
            )
        if time.monotonic() - started > service.start_timeout_s:
            raise ServiceError(
                f"{service.name} was not ready after {service.start_timeout_s:.0f} s. See {log_file}"
            )
        time.sleep(0.05)
    return time.monotonic() - started


@contextmanager
def running(service: Service, log_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run one service as a child of this process until the block ends (tests and benchmarks)."""
    process = start_child(service, log_dir)
    try:
        yield process
    finally:
        stop_child(process, service)


def start_child(service: Service, log_dir: Path) -> subprocess.Popen[bytes]:
    """Start a service as a child of this process and wait until it is ready."""
    log_dir.mkdir(parents=True, exist_ok=True)
    log_file = log_dir / f"{service.name}.log"
    environment = {**os.environ, **service.environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            service.command,
            cwd=service.directory,
            env=environment,
            user=service.user,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    try:
        wait_until_ready(service, lambda: process.poll() is None, log_file)
    except BaseException:
        stop_child(process, service)
        raise
    return process


def stop_child(process: subprocess.Popen[bytes], service: Service, grace_s: float = 20.0) -> None:
    """Stop a child with the service's own signal, then kill it if it outlives the grace period."""
    if process.poll() is not None:
        return
    process.send_signal(service.stop_signal)
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log_file: Path, lines: int = 15) -> str:
    if not log_file.exists():
        return "(no log was written)"
    return "\n".join(log_file.read_text(errors="replace").splitlines()[-lines:])
