"""Processes of a stack as the operating system sees them: who belongs to it, who holds a port.

Add a question to the process table here. Avoid signals to services that supervisord keeps.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from deployment.embedded.child_environment import STACK_VARIABLE

TERMINATE_GRACE_S = 3.0


def stack_processes(state_dir: Path) -> list[psutil.Process]:
    """Every process of a stack, found by the variable that they all inherit, with their children.

    The caller and its ancestors are left out: `opsgraph down` may itself run inside the stack.
    """
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        # Other users' processes can't be read, and others end while they are looked at.
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(STACK_VARIABLE) == str(state_dir):
                # Postgres overwrites its children's variables with their titles.
                found |= {member.pid: member for member in (process, *process.children(recursive=True))}
    return [process for pid, process in found.items() if pid not in spared]


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs; one that has ended and was not reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def wait_until_gone(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait for processes to end; return those that still run when the time is over."""
    deadline = time.monotonic() + timeout_s
    alive = [process for process in processes if is_alive(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(0.02)
        alive = [process for process in alive if is_alive(process)]
    return alive


def stop_processes(processes: Iterable[psutil.Process], grace_s: float = TERMINATE_GRACE_S) -> list[int]:
    """End processes: a request first, force after the grace period. Returns the ids that it ended."""
    alive = [process for process in processes if is_alive(process)]
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in wait_until_gone(alive, grace_s):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until_gone(alive, grace_s)
    return [process.pid for process in alive]


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of the loopback address now."""
    with socket.socket() as probe:
        # Connections of an earlier life in TIME_WAIT do not matter; a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def port_holder(port: int) -> str:
    """Who listens on a port, in words: process id and command, as far as the caller may know."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens_there = connection.status == psutil.CONN_LISTEN and connection.laddr[-1:] == (port,)
            if listens_there and connection.pid:
                return _in_words(connection.pid)
    return "another user's process"


def _in_words(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        home = process.environ().get(STACK_VARIABLE)
        if home:
            return f"process {pid} of the opsgraph stack in {home}"
        return f"process {pid} ({' '.join(process.cmdline())[:120]})"
    except psutil.Error:
        return f"process {pid}"
