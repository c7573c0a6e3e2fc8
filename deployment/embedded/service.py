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

POLL_S = 0.1  # probes compete with the servers that they wait for


class ServiceError(RuntimeError):
    """A process of the stack did not start or did not become ready; the message says what to do."""


def _nothing() -> None:
    """Default of `Service.prepare`."""


@dataclass(frozen=True)
class Port:
    """A TCP port on the loopback address, and the variable that moves it."""

    number: int
    variable: str


@dataclass(frozen=True)
class Service:
    """How to run one process.

    Attributes:
        name: Name in logs, supervisor and `opsgraph status`.
        command: Full argument list; the first element is an absolute path.
        is_ready: Returns True once the service answers its own protocol. Its argument is when the
            process started (seconds since the epoch), for services that leave signs of life in a
            database: those of an earlier life must not count.
        url: Address that a person or a client uses.
        ports: Ports that must be free before the process starts.
        prepare: Makes the data folder and its files; run before each start, so it must be idempotent.
        environment: Variables added to the parent's environment.
        directory: Working folder.
        user: System user to run as; None keeps the caller's.
        stop_signal: Signal for an orderly stop.
        start_order: Services of a lower number are ready before those of a higher one start.
        stop_order: Services of a lower number have ended before those of a higher one are stopped.
        start_timeout_s: Seconds until a service that is not ready counts as failed.
        niceness: Added to the process's niceness: what nobody waits for gives way.
        is_waited_for: Whether `up` waits until it is ready; the others are started last.
    """

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[float], bool]
    url: str = ""
    ports: tuple[Port, ...] = ()
    prepare: Callable[[], object] = _nothing
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = Path("/")
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    start_order: int = 0
    stop_order: int = 0
    start_timeout_s: float = 180.0  # ends that are due to a failure show at once; this is for slow disks
    niceness: int = 0
    is_waited_for: bool = True


def wait_until_ready(
    service: Service, is_alive: Callable[[], bool], log_file: Path, started_at: float | None = None
) -> float:
    """Block until the service is ready; return the seconds that it took.

    Args:
        service: What is starting.
        is_alive: Whether its process still runs.
        log_file: Where its output goes, for the message.
        started_at: When its process started, seconds since the epoch; now when it is not given.

    Raises:
        ServiceError: The process ended, or `start_timeout_s` passed. Names the log file.
    """
    started = time.monotonic()
    started_at = time.time() if started_at is None else started_at
    while not service.is_ready(started_at):
        if not is_alive():
            raise ServiceError(
                f"{service.name} ended while starting; its last lines:\n{tail(log_file)}\nSee {log_file}"
            )
        if time.monotonic() - started > service.start_timeout_s:
            raise ServiceError(
                f"{service.name} was not ready after {service.start_timeout_s:.0f} s; its last lines:\n"
                f"{tail(log_file)}\nSee {log_file}"
            )
        time.sleep(POLL_S)
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
    service.prepare()
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


def tail(log_file: Path, lines: int = 15) -> str:
    """The last lines of a log, or a note that there is none."""
    if not log_file.exists():
        return "(no log was written)"
    return "\n".join(log_file.read_text(errors="replace").splitlines()[-lines:])
