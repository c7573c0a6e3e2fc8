"""What a person is told when the machine is not fit for a start."""

import os
import socket
from pathlib import Path

import pytest

from deployment.embedded import preflight
from deployment.embedded.service import Port, Service, ServiceError


def test_busy_port_names_holder_and_variable() -> None:
    """Forbids "address already in use" deep in a log."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        number = holder.getsockname()[1]
        service = Service(
            "mlflow", ("/bin/true",), lambda _: True, ports=(Port(number, "OPSGRAPH_MLFLOW_PORT"),)
        )
        with pytest.raises(ServiceError) as error:
            preflight.require_free_ports([service])
    message = str(error.value)
    for part in (
        f"port {number}",
        "mlflow",
        f"process {os.getpid()}",
        "OPSGRAPH_MLFLOW_PORT",
        "nothing was started",
    ):
        assert part in message, part


def test_every_busy_port_is_told_at_once() -> None:
    """Forbids one busy port per attempt."""
    with socket.socket() as one, socket.socket() as two:
        services = []
        for name, holder in (("a", one), ("b", two)):
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = Port(holder.getsockname()[1], f"PORT_{name}")
            services.append(Service(name, ("/bin/true",), lambda _: True, ports=(port,)))
        with pytest.raises(ServiceError, match=r"(?s)PORT_a.*PORT_b"):
            preflight.require_free_ports(services)


def test_connection_that_lingers_does_not_make_a_port_busy() -> None:
    """Forbids a refusal right after `down`, while closed connections wait in the kernel."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as every server does
        server.bind(("127.0.0.1", 0))
        server.listen()
        number = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", number))
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first keeps the address in TIME_WAIT
        client.close()
    service = Service("a", ("/bin/true",), lambda _: True, ports=(Port(number, "PORT"),))
    preflight.require_free_ports([service])


def test_full_disk_is_told_before_the_start(tmp_path: Path) -> None:
    """Forbids a Postgres that dies of a full disk in the middle of its first start."""
    needed = 2**60  # more than any disk has
    with pytest.raises(ServiceError, match=r"bytes free and the stack needs 1,152,921,504,606,846,976"):
        preflight.require_state_dir(tmp_path, needed_bytes=needed)
    assert list(tmp_path.iterdir()) == []


def test_state_folder_that_is_a_file(tmp_path: Path) -> None:
    """Forbids a traceback where the state folder can't be made (as root no folder is read-only)."""
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(ServiceError, match=r"can't be written to.*OPSGRAPH_HOME"):
        preflight.require_state_dir(blocker / "state")


def test_new_state_folder_is_open_to_the_database_user(tmp_path: Path) -> None:
    """Forbids a strict umask that locks the unprivileged Postgres out of a folder we made."""
    before = os.umask(0o077)
    try:
        preflight.require_state_dir(tmp_path / "state", needed_bytes=0)
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o001


def test_second_up_is_told_who_is_at_work(tmp_path: Path) -> None:
    """Forbids two `up` that both find no supervisor and start one each."""
    with (
        preflight.exclusive(tmp_path, "up"),
        pytest.raises(ServiceError, match=rf"`opsgraph up` \(process {os.getpid()}\) is at work"),
        preflight.exclusive(tmp_path, "down"),
    ):
        pass
    with preflight.exclusive(tmp_path, "down"):  # and the lock is free again
        pass
