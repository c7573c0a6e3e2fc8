"""The embedded stack as a whole: up in order of readiness, down without a trace, health now.

Add steps that concern every service here. Avoid migrations and topics: `orchestration.commands.stack`
hands those in, because deployment knows the settings and nothing else of orchestration.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path

import psutil

from deployment.embedded import dagster, postgres, preflight, processes
from deployment.embedded.catalogue import ExternalService, embedded_services, external_services
from deployment.embedded.child_environment import child_environment, state_dir
from deployment.embedded.service import Service, ServiceError, wait_until_ready
from deployment.embedded.supervisor import STOP_GRACE_S, ProcessState, Supervisor, configuration, log_file
from orchestration.environment import PROJECT_ROOT, Environment

# Orphans write their last words into a pipe that nobody reads, and some hang on that.
ORPHAN_GRACE_S = 5.0
LOOKS_FOR_LATE = 5

Hooks = Mapping[str, Callable[[], object]]


class Health(StrEnum):
    """State of one service, as `opsgraph status` tells it."""

    READY = "ready"
    NOT_READY = "not ready"
    DOWN = "down"


@dataclass(frozen=True)
class StartedService:
    """A service that became ready.

    Attributes:
        name: Name of the service.
        url: Its address.
        pid: Process id.
        seconds: From the request to start until ready; 0 when it ran already.
    """

    name: str
    url: str
    pid: int
    seconds: float


@dataclass(frozen=True)
class ServiceHealth:
    """One service as it is now.

    Attributes:
        name: Name of the service.
        health: READY when it answers its own protocol; DOWN when there is no process.
        url: Its address.
        latency_ms: Duration of the probe.
        pid: Process id; None for an external or absent one.
        uptime_s: Seconds since its process started.
        detail: supervisord's state, or the setting that placed it elsewhere.
    """

    name: str
    health: Health
    url: str
    latency_ms: float
    pid: int | None = None
    uptime_s: float | None = None
    detail: str = ""


def up(
    environment: Environment,
    hooks: Hooks | None = None,
    on_ready: Callable[[StartedService], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> list[StartedService]:
    """Start what does not run and wait until it is ready. A second call changes nothing.

    Services that nobody waits for are started last, and this returns before they are ready.

    Args:
        environment: The settings.
        hooks: What to do once a service is ready and before those that need it start, by its name.
        on_ready: Told of each service as it becomes ready.
        say: Told what a person should know: orphans that were ended, a moved data folder.

    Raises:
        ServiceError: A check failed or a service did not become ready; what this call started is
            stopped again.
    """
    state = state_dir(environment)
    services = embedded_services(environment)
    preflight.require_state_dir(state)
    with preflight.exclusive(state, "up"):
        supervisor = Supervisor(state)
        begun_at = time.time()
        was_running = _supervise(supervisor, services, environment, say)
        try:
            started = _start_all(state, services, hooks or {}, on_ready)
        except BaseException:
            if not was_running:
                _stop_all(state, services)
            raise
        dead = [] if was_running else dagster.cancel_dead_runs(environment.dagster_url, begun_at)
        if dead:
            say(f"marked {len(dead)} Dagster runs as cancelled: the stack was stopped under them")
        return started


def down(environment: Environment, say: Callable[[str], None] = lambda _: None) -> int:
    """Stop every process of the stack, also those that a killed supervisor left behind.

    Returns:
        How many processes there were.
    """
    state = state_dir(environment)
    if not state.exists():
        return 0
    with preflight.exclusive(state, "down"):
        ended, forced = _stop_all(state, embedded_services(environment))
        if forced:
            say(f"ended by force, after their service had ended: {', '.join(map(str, forced))}")
        return ended


def delete_data(environment: Environment) -> list[Path]:
    """Stop the stack and delete all that it keeps; return the folders that are gone.

    Raises:
        ServiceError: The state folder is not one that `opsgraph up` made, or holds more than a stack.
    """
    down(environment)
    state = state_dir(environment)
    if not state.exists():
        return []
    if not (state / preflight.LOCK).exists() or PROJECT_ROOT.is_relative_to(state):
        raise ServiceError(f"{state} does not look like the state of a stack. Nothing was deleted.")
    cluster = postgres.data_dir(state, postgres.run_as())
    outside = [] if cluster.is_relative_to(state) else [cluster.parent]
    folders = [folder for folder in (state, *outside) if folder.exists()]
    for folder in folders:
        shutil.rmtree(folder)
    return folders


def restart(environment: Environment, name: str) -> StartedService:
    """Stop one service and start it again, for example the code server after a change of code.

    Raises:
        ServiceError: There is no such service, the stack is down, or it did not become ready.
    """
    state = state_dir(environment)
    service = next((each for each in embedded_services(environment) if each.name == name), None)
    if service is None:
        names = ", ".join(each.name for each in embedded_services(environment))
        raise ServiceError(f"There is no service {name!r} in the stack. It has: {names}.")
    if not Supervisor(state).is_alive():
        raise ServiceError("The stack is not up: run `opsgraph up`.")
    with preflight.exclusive(state, f"restart {name}"):
        _stop_in_order(state, [service])
        return _start(state, service, {})


def health(environment: Environment) -> list[ServiceHealth]:
    """State of every service now, embedded and external, each asked in its own protocol."""
    states = Supervisor(state_dir(environment)).states()
    services = embedded_services(environment)
    with ThreadPoolExecutor(max_workers=8) as pool:
        embedded = pool.map(lambda service: _health(service, states.get(service.name)), services)
        external = pool.map(_external_health, external_services(environment))
        return [*embedded, *external]


def _supervise(
    supervisor: Supervisor,
    services: tuple[Service, ...],
    environment: Environment,
    say: Callable[[str], None],
) -> bool:
    """Have a supervisord that runs with these settings; return whether it ran already."""
    state = state_dir(environment)
    text = configuration(services, state, is_root=os.geteuid() == 0)
    if supervisor.is_alive():
        if supervisor.configuration_file.read_text() == text:
            return True
        say("the settings have changed since the stack was started: starting it anew")
    elif processes.stack_processes(state):
        say("a supervisor that was killed left processes behind: ending them first")
    _stop_all(state, services)
    preflight.require_free_ports(services)
    cluster = postgres.data_dir(state, postgres.run_as())
    if not cluster.is_relative_to(state):
        say(f"'{postgres.run_as()}' may not enter {state}: Postgres keeps its data in {cluster}")
    (state / "logs").mkdir(exist_ok=True)
    supervisor.launch(text, child_environment(environment, os.environ))
    return False


def _start_all(
    state: Path, services: Sequence[Service], hooks: Hooks, on_ready: Callable[[StartedService], None]
) -> list[StartedService]:
    started: list[StartedService] = []

    def start(service: Service) -> StartedService:
        result = _start(state, service, hooks)
        on_ready(result)
        return result

    in_order = sorted(
        (service for service in services if service.is_waited_for), key=lambda service: service.start_order
    )
    for _, wave in groupby(in_order, key=lambda service: service.start_order):
        pool = ThreadPoolExecutor(max_workers=8)
        try:
            started.extend(pool.map(start, list(wave)))
        finally:
            # After a failure nobody waits for the others: the caller stops them now.
            pool.shutdown(wait=False, cancel_futures=True)
    for service in services:
        if not service.is_waited_for:
            service.prepare()
            Supervisor(state).start(service.name)
    return started


def _start(state: Path, service: Service, hooks: Hooks) -> StartedService:
    supervisor = Supervisor(state)
    begun = time.monotonic()
    before = supervisor.state(service.name)
    if not before.is_alive:
        service.prepare()
        supervisor.start(service.name)
    first = supervisor.state(service.name)
    pids = {first.pid}

    def is_alive() -> bool:
        now = supervisor.state(service.name)
        pids.add(now.pid)
        # One restart is forgiven: a server may have to wait for what its killed forerunner held.
        return now.is_alive and len(pids - {0}) <= 2

    wait_until_ready(service, is_alive, log_file(state, service.name), first.started_at)
    if service.name in hooks:
        hooks[service.name]()
    seconds = 0.0 if before.is_alive else time.monotonic() - begun
    return StartedService(service.name, service.url, supervisor.state(service.name).pid, seconds)


def _stop_all(state: Path, services: Iterable[Service]) -> tuple[int, list[int]]:
    """Stop in order, then whatever is left; return how many there were and which needed force."""
    members = processes.stack_processes(state)  # noted now: a child outlives its parent's entry
    supervisor = Supervisor(state)
    if supervisor.is_alive():
        _stop_in_order(state, services)
        supervisor.shut_down()
        deadline = time.monotonic() + STOP_GRACE_S
        while supervisor.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
    else:
        _stop_orphans(members, services)
    forced = processes.stop_processes(processes.wait_until_gone(members, timeout_s=1.0))
    # A run that was forked while its server ended is in no list that was made before.
    for _ in range(LOOKS_FOR_LATE):
        late = processes.stack_processes(state)
        forced += processes.stop_processes(late)
        members += late
        if not late:
            break
    return len(members), forced


def _stop_in_order(state: Path, services: Iterable[Service]) -> None:
    supervisor = Supervisor(state)
    known = supervisor.states()
    present = _by_stop_order(service for service in services if service.name in known)
    for _, wave in groupby(present, key=lambda service: service.stop_order):
        names = [service.name for service in wave]
        for name in names:
            supervisor.stop(name)
        deadline = time.monotonic() + STOP_GRACE_S + 2
        while time.monotonic() < deadline and any(supervisor.state(name).pid for name in names):
            time.sleep(0.03)


def _stop_orphans(members: Iterable[psutil.Process], services: Iterable[Service]) -> None:
    """Give the services of a dead supervisor their own orderly stop, in the usual order."""
    by_command: dict[tuple[str, ...], list[psutil.Process]] = {}
    for process in members:
        with contextlib.suppress(psutil.Error):
            by_command.setdefault(tuple(process.cmdline()), []).append(process)
    for _, wave in groupby(_by_stop_order(services), key=lambda service: service.stop_order):
        orphans = [(each, process) for each in wave for process in by_command.get(each.command, [])]
        for service, process in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(service.stop_signal)
        processes.wait_until_gone([process for _, process in orphans], ORPHAN_GRACE_S)


def _by_stop_order(services: Iterable[Service]) -> list[Service]:
    return sorted(services, key=lambda service: service.stop_order)


def _health(service: Service, state: ProcessState | None) -> ServiceHealth:
    if state is None or not state.pid:
        detail = "stack is down" if state is None else f"{state.state} {state.reason}".strip()
        return ServiceHealth(service.name, Health.DOWN, service.url, 0.0, detail=detail)
    begun = time.monotonic()
    ready = service.is_ready(state.started_at)
    latency_ms = (time.monotonic() - begun) * 1000
    return ServiceHealth(
        name=service.name,
        health=Health.READY if ready else Health.NOT_READY,
        url=service.url,
        latency_ms=round(latency_ms, 1),
        pid=state.pid,
        uptime_s=round(time.time() - state.started_at, 1),
        detail=state.state,
    )


def _external_health(service: ExternalService) -> ServiceHealth:
    begun = time.monotonic()
    ready = service.is_ready()
    latency_ms = (time.monotonic() - begun) * 1000
    detail = f"external ({service.variable})"
    return ServiceHealth(
        service.name, Health.READY if ready else Health.DOWN, service.url, round(latency_ms, 1), detail=detail
    )


__all__ = [
    "Health",
    "Hooks",
    "ServiceError",
    "ServiceHealth",
    "StartedService",
    "down",
    "health",
    "restart",
    "up",
]
