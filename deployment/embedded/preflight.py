"""What must hold before anything is started: a folder to write to, room on its disk, free ports, one `up`.

Add a check here when a service would otherwise fail later with a worse message.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deployment.embedded import processes
from deployment.embedded.service import Service, ServiceError

LOCK = "stack.lock"
# An empty stack takes 250 MiB; a demo with its write-ahead log, lake and index about 700 MiB more.
NEEDED_BYTES = 1024**3


def require_state_dir(state_dir: Path, needed_bytes: int = NEEDED_BYTES) -> None:
    """Make the state folder and see that it can be written to and has room.

    Raises:
        ServiceError: Names the folder and what is missing.
    """
    marker = state_dir / ".write-test"
    try:
        if not state_dir.exists():
            state_dir.mkdir(parents=True)
            state_dir.chmod(0o755)  # a strict umask would lock the unprivileged Postgres out
        marker.write_bytes(b"opsgraph")
        marker.unlink()
    except OSError as error:
        raise ServiceError(
            f"The state folder {state_dir} can't be written to: {error.strerror}. Nothing was started. "
            "Free space there, give yourself the right to write, or set OPSGRAPH_HOME to another folder."
        ) from error
    free = shutil.disk_usage(state_dir).free
    if free < needed_bytes:
        raise ServiceError(
            f"The disk of {state_dir} has {free:,} bytes free and the stack needs {needed_bytes:,}. "
            "Nothing was started. Free space, or set OPSGRAPH_HOME to a folder on another disk."
        )


def require_free_ports(services: Iterable[Service]) -> None:
    """See that no other program listens where the services will.

    Raises:
        ServiceError: Lists every busy port with its holder and the variable that moves it.
    """
    busy = [
        f"  port {port.number} ({service.name}) is held by {processes.port_holder(port.number)}; "
        f"stop it, or set {port.variable}"
        for service in services
        for port in service.ports
        if not processes.is_free(port.number)
    ]
    if busy:
        raise ServiceError("Ports are busy, nothing was started:\n" + "\n".join(busy))


@contextmanager
def exclusive(state_dir: Path, what: str) -> Iterator[None]:
    """Hold the stack's lock: one `up`, `down` or `restart` at a time. The kernel drops it on any death.

    Raises:
        ServiceError: Another process holds it; names the process and what it does.
    """
    path = state_dir / LOCK
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise ServiceError(
                f"{lock.read().strip() or 'Another process'} is at work on {state_dir}. "
                "Wait until it has ended and try again."
            ) from error
        lock.truncate(0)
        lock.write(f"`opsgraph {what}` (process {os.getpid()})")
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)
