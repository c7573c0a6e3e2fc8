"""supervisord as the keeper of the stack: its configuration as text, and a client of its socket.

It restarts what dies, rotates one log per process and stops in order. It knows neither readiness nor
dependencies: those are in `deployment.embedded.stack`.
"""

import http.client
import resource
import shlex
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from deployment.embedded.service import Service, ServiceError, tail

LOG_BYTES = "20MB"
LOG_BACKUPS = 3
# A process that ends within 5 s of its start counts as a failed start: those are retried with a delay
# that grows by a second each time, so that a broken one does not eat a core, and ends as FATAL.
START_SECONDS = 5
START_RETRIES = 10
STOP_GRACE_S = 15
OPEN_FILES = 8192  # Kafka holds a few files per partition segment; the usual soft limit is 1024
SOCKET_PATH_LIMIT = 90  # the kernel takes 107 bytes, and supervisord appends its process id


@dataclass(frozen=True)
class ProcessState:
    """What supervisord says about one process.

    Attributes:
        name: Name of the service.
        state: supervisord's own word: RUNNING, STARTING, BACKOFF, FATAL, EXITED, STOPPED.
        pid: Process id, 0 when there is none.
        started_at: Seconds since the epoch of the last start.
        reason: Why the last start failed, if it did.
    """

    name: str
    state: str
    pid: int
    started_at: float
    reason: str

    @property
    def is_alive(self) -> bool:
        """Whether there is a process, or one will be started within seconds."""
        return self.state in {"RUNNING", "STARTING", "BACKOFF"}


def control_socket(state_dir: Path) -> Path:
    """Path of the control socket; a state folder that is too deep for one gets it in the temporary folder."""
    path = state_dir / "run" / "supervisor.sock"
    if len(str(path)) <= SOCKET_PATH_LIMIT:
        return path
    return Path(tempfile.gettempdir()) / f"opsgraph-{sha256(str(state_dir).encode()).hexdigest()[:12]}.sock"


def log_file(state_dir: Path, name: str) -> Path:
    """The log of one process."""
    return state_dir / "logs" / f"{name}.log"


def configuration(services: Iterable[Service], state_dir: Path, is_root: bool) -> str:
    """The text of `supervisord.conf`.

    Args:
        services: Programs; none starts by itself, because readiness decides who is next.
        state_dir: Absolute state folder of the stack.
        is_root: Whether supervisord will run as root (it wants to be told that this is meant).
    """
    run = state_dir / "run"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    daemon = {
        "logfile": _escaped(log_file(state_dir, "supervisord")),
        "logfile_maxbytes": LOG_BYTES,
        "logfile_backups": str(LOG_BACKUPS),
        "pidfile": _escaped(run / "supervisord.pid"),
        "directory": _escaped(state_dir),
        "strip_ansi": "true",  # logs are read with tail and grep
        "minfds": str(max(files, min(soft, OPEN_FILES))),
    }
    if is_root:
        daemon["user"] = "root"
    sections = [
        _section("unix_http_server", {"file": _escaped(control_socket(state_dir)), "chmod": "0700"}),
        _section("supervisord", daemon),
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
        *(_section(f"program:{service.name}", _program(service, state_dir)) for service in services),
    ]
    return "\n".join(sections)


def _program(service: Service, state_dir: Path) -> dict[str, str]:
    # `nice` turns into the command itself, so the process is found by the service's own arguments.
    nice = ("nice", "-n", str(service.niceness)) if service.niceness else ()
    program = {
        "command": _escaped(shlex.join((*nice, *service.command))),
        "directory": _escaped(service.directory),
        # supervisord stops the highest number first.
        "priority": str(900 - 100 * service.stop_order),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": str(START_SECONDS),
        "startretries": str(START_RETRIES),
        "stopsignal": service.stop_signal.name.removeprefix("SIG"),
        "stopwaitsecs": str(STOP_GRACE_S),
        # Run workers are in the code server's group. Postgres tells its own children.
        "stopasgroup": "false" if service.user else "true",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": _escaped(log_file(state_dir, service.name)),
        "stdout_logfile_maxbytes": LOG_BYTES,
        "stdout_logfile_backups": str(LOG_BACKUPS),
    }
    if service.user:
        program["user"] = service.user
    if service.environment:
        program["environment"] = _escaped(
            ",".join(f'{name}="{value}"' for name, value in service.environment.items())
        )
    return program


def _escaped(value: object) -> str:
    """A value as the file's syntax wants it: a percent sign would start an expansion."""
    return str(value).replace("%", "%%")


def _section(name: str, settings: Mapping[str, str]) -> str:
    return "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in settings.items()), ""])


class Supervisor:
    """A supervisord and its control socket. Objects are cheap; each thread takes its own."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._socket = control_socket(state_dir)

    @property
    def configuration_file(self) -> Path:
        """The file that the running supervisord was started with."""
        return self._state_dir / "run" / "supervisord.conf"

    def is_alive(self) -> bool:
        """Whether a supervisord answers on the socket (a socket file alone proves nothing)."""
        try:
            return bool(self._call("getState"))
        except (OSError, http.client.HTTPException):
            return False

    def launch(self, text: str, environment: Mapping[str, str]) -> None:
        """Start supervisord in the background with a configuration, and wait for its socket.

        Raises:
            ServiceError: It did not come up; has its own words.
        """
        self.configuration_file.parent.mkdir(parents=True, exist_ok=True)
        self.configuration_file.touch(mode=0o600)  # addresses of external services may hold passwords
        self.configuration_file.write_text(text)
        result = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.configuration_file)],
            env=dict(environment), cwd=self._state_dir, capture_output=True, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while not self.is_alive():
            if result.returncode or time.monotonic() > deadline:
                log = log_file(self._state_dir, "supervisord")
                raise ServiceError(f"supervisord did not start: {result.stdout}{result.stderr}{tail(log, 5)}")
            time.sleep(0.02)

    def start(self, name: str) -> None:
        """Ask for a start; a process that runs is left alone."""
        if not self.state(name).is_alive:
            self._call("startProcess", name, False)

    def stop(self, name: str) -> None:
        """Ask for a stop without waiting; a process that does not run is left alone."""
        if self.state(name).is_alive:
            self._call("stopProcess", name, False)

    def state(self, name: str) -> ProcessState:
        """State of one process."""
        return _process_state(self._call("getProcessInfo", name))

    def states(self) -> dict[str, ProcessState]:
        """State of every process, by name; empty when no supervisord answers."""
        try:
            return {info["name"]: _process_state(info) for info in self._call("getAllProcessInfo")}
        except (OSError, http.client.HTTPException):
            return {}

    def pid(self) -> int:
        """Process id of supervisord itself."""
        return int(self._call("getPID"))

    def shut_down(self) -> None:
        """Ask supervisord to stop what still runs, in order, and to end."""
        self._call("shutdown")

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()


def _process_state(info: Mapping[str, Any]) -> ProcessState:
    return ProcessState(
        name=str(info["name"]),
        state=str(info["statename"]),
        pid=int(info["pid"]),
        started_at=float(info["start"]),
        reason=str(info["spawnerr"]),
    )
