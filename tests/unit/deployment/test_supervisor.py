"""The configuration means to supervisord what the services say."""

import shlex
import signal
from pathlib import Path

import pytest
from supervisor.options import ProcessConfig, ServerOptions

from deployment.embedded.service import Service
from deployment.embedded.supervisor import SOCKET_PATH_LIMIT, configuration, control_socket


def read_back(text: str, folder: Path) -> dict[str, ProcessConfig]:
    """The programs as supervisord itself reads them."""
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "run").mkdir(exist_ok=True)
    path = folder / "supervisord.conf"
    path.write_text(text)
    options = ServerOptions()
    options.realize(["-c", str(path)])
    return {
        process.name: process for group in options.process_group_configs for process in group.process_configs
    }


def service(name: str = "web", **fields: object) -> Service:
    return Service(name=name, command=("/bin/true",), is_ready=lambda _: True, **fields)  # pyright: ignore


def test_values_come_through_unchanged(tmp_path: Path) -> None:
    """Forbids a password with a percent sign or a path with a space that breaks the file."""
    environment = {"URL": "postgresql://u:p%40ss@h/db", "WORDS": "a b, c"}
    command = ("/opt/my tools/java", "-cp", "/jars/*", "--at", "50%")
    one = Service("kafka", command, lambda _: True, environment=environment, directory=tmp_path)
    found = read_back(configuration([one], tmp_path, is_root=False), tmp_path)["kafka"]
    assert found.environment == environment
    assert found.get_path() is not None
    assert tuple(shlex.split(found.command)) == command
    assert found.directory == str(tmp_path)


def test_a_nice_service_gives_way(tmp_path: Path) -> None:
    """Forbids a background service at the priority of those that people wait for."""
    found = read_back(configuration([service("quiet", niceness=10)], tmp_path, is_root=False), tmp_path)
    assert shlex.split(found["quiet"].command) == ["nice", "-n", "10", "/bin/true"]


def test_restart_and_stop_are_what_the_service_asks_for(tmp_path: Path) -> None:
    """Forbids a Postgres stopped with SIGTERM (it waits for clients) and a process that stays dead."""
    one = service("postgres", stop_signal=signal.SIGINT)
    found = read_back(configuration([one], tmp_path, is_root=False), tmp_path)["postgres"]
    assert found.stopsignal == signal.SIGINT
    assert found.autorestart
    assert not found.autostart
    assert found.stdout_logfile == str(tmp_path / "logs" / "postgres.log")
    assert found.stdout_logfile_maxbytes > 0
    assert found.redirect_stderr


def test_supervisord_alone_stops_in_the_same_order(tmp_path: Path) -> None:
    """Forbids a database that supervisord, told to end, stops before its clients."""
    services = [
        service("database", stop_order=3),
        service("broker", stop_order=2),
        service("page", stop_order=0),
    ]
    found = read_back(configuration(services, tmp_path, is_root=False), tmp_path)
    # supervisord stops the highest priority number first.
    order = sorted(found, key=lambda name: -found[name].priority)
    assert order == ["page", "broker", "database"]


def test_deep_state_folder_gets_a_short_socket() -> None:
    """Forbids a socket path beyond the kernel's 107 bytes, where bind fails with no useful message."""
    deep = Path("/var/lib") / ("folder/" * 20)
    assert len(str(control_socket(deep))) <= SOCKET_PATH_LIMIT
    assert control_socket(deep) != control_socket(deep / "other")
    assert control_socket(Path("/srv/x")) == Path("/srv/x/run/supervisor.sock")


@pytest.mark.parametrize("is_root", [True, False])
def test_root_is_told_that_root_is_meant(tmp_path: Path, is_root: bool) -> None:
    """Forbids a user setting for others: supervisord refuses to change user when it is not root."""
    assert ("user=root" in configuration([], tmp_path, is_root=is_root)) is is_root
