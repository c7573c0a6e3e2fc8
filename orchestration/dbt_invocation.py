"""How dbt is called: environment, arguments, schemas of an as-of build, freshness of the manifest.

Add a pure function here when the command line, Dagster and the tests need the same argument. Avoid
building models here (the command line and Dagster do), and importing Dagster: that alone costs a second.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from orchestration.environment import PROJECT_ROOT

DBT_PROJECT_DIR = PROJECT_ROOT / "dbt_project"
DBT_EXECUTABLE = str(Path(sys.executable).parent / "dbt")
LAYERS = ("staging", "intermediate", "marts")
KEPT_RUNS = 20
_SOURCE_SUFFIXES = {".sql", ".yml", ".csv", ".md"}


class WarehouseError(RuntimeError):
    """dbt could not be called or did not do its work; the message says what to do next."""


def dbt_environment(database_url: str, state_dir: Path) -> dict[str, str]:
    """Variables that point dbt at a database and at a writable place.

    Args:
        database_url: `postgresql://user:password@host:port/database`, parts percent-encoded.
        state_dir: Folder of the stack's state; dbt writes below `<state_dir>/dbt`.

    Returns:
        The variables that `dbt_project/profiles.yml` reads, and dbt's own for paths and telemetry.

    Raises:
        WarehouseError: The URL names no host or no database.

    >>> dbt_environment("postgresql://me:p%40ss@db:5433/plant", Path("/s"))["OPSGRAPH_DBT_PORT"]
    '5433'
    """
    parts = urlsplit(database_url)
    database = parts.path.lstrip("/")
    if not parts.hostname or not database:
        raise WarehouseError(
            "The database URL has to name a host and a database, as in "
            "postgresql://user@host:5432/opsgraph. dbt was not started. Correct DATABASE_URL."
        )
    query = parse_qs(parts.query)
    return {
        "OPSGRAPH_DBT_HOST": parts.hostname,
        "OPSGRAPH_DBT_PORT": str(parts.port or 5432),
        "OPSGRAPH_DBT_USER": unquote(parts.username or "postgres"),
        "DBT_ENV_SECRET_OPSGRAPH_PASSWORD": unquote(parts.password or ""),
        "OPSGRAPH_DBT_DATABASE": unquote(database),
        "OPSGRAPH_DBT_SSLMODE": query.get("sslmode", ["prefer"])[0],
        "DBT_PROFILES_DIR": str(DBT_PROJECT_DIR),
        "DBT_PROJECT_DIR": str(DBT_PROJECT_DIR),
        "DBT_LOG_PATH": str(state_dir / "dbt" / "logs"),
        "DBT_LOG_LEVEL_FILE": "info",  # at `debug` writing the file is a tenth of a build
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_VERSION_CHECK": "false",
    }


def process_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with dbt's variables, for a dbt process.

    Without its byte code dbt takes two to three times as long to start, so it may always write it.
    """
    environment = {**os.environ, **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def target_dir(state_dir: Path, as_of: datetime | None = None) -> Path:
    """Folder of dbt's artefacts. As-of builds have their own: changed variables void a kept parse."""
    return state_dir / "dbt" / ("target_as_of" if as_of else "target")


def parse_as_of(text: str) -> datetime:
    """An instant as the command line takes it, in UTC; without an offset it is read as UTC.

    Raises:
        WarehouseError: The text is no ISO 8601 instant.

    >>> parse_as_of("2015-03-01T01:00:00+01:00").isoformat()
    '2015-03-01T00:00:00+00:00'
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise WarehouseError(
            f"'{text}' is no ISO 8601 instant. Nothing was built. Write for example 2015-03-01T00:00:00Z."
        ) from error
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def as_of_schema(layer: str, as_of: datetime) -> str:
    """Schema where an as-of build puts a layer; `generate_schema_name` in dbt gives the same.

    >>> as_of_schema("marts", datetime(2015, 3, 1, tzinfo=UTC))
    'asof_20150301t000000_marts'
    """
    return f"asof_{as_of.astimezone(UTC):%Y%m%dt%H%M%S}_{layer}"


def vars_arguments(as_of: datetime | None) -> list[str]:
    """The `--vars` of a build as known at an instant; nothing for a build of everything."""
    if as_of is None:
        return []
    return ["--vars", json.dumps({"as_of": as_of.astimezone(UTC).isoformat().replace("+00:00", "Z")})]


def build_arguments(
    select: Sequence[str] = (),
    as_of: datetime | None = None,
    full_refresh: bool = False,
) -> list[str]:
    """Arguments of `dbt build`: models, seeds and tests in the order of the graph.

    Args:
        select: dbt selectors, for example `mart_equipment_health` or `+int_failure_labels`.
        as_of: Build as known at this instant, into schemas of its own.
        full_refresh: Build incremental models from nothing.

    >>> build_arguments(["marts"], full_refresh=True)
    ['build', '--select', 'marts', '--indirect-selection', 'buildable', '--full-refresh']
    """
    arguments = ["build"]
    if select:
        # An as-of schema starts empty, so what a model reads is built with it. A test that also reads
        # a model outside the selection waits for a build that has both.
        wanted = [f"+{selector.lstrip('+')}" for selector in select] if as_of else select
        arguments += ["--select", *wanted, "--indirect-selection", "buildable"]
    if full_refresh:
        arguments.append("--full-refresh")
    return arguments + vars_arguments(as_of)


def dbt_command(arguments: Sequence[str], target: Path) -> list[str]:
    """The dbt process of this interpreter's environment, writing its artefacts to a folder."""
    return [DBT_EXECUTABLE, *arguments, "--target-path", str(target)]


def prune_runs(target: Path, keep: int = KEPT_RUNS) -> int:
    """Delete the artefacts of all but the newest calls from Dagster, which leave 4 MB each.

    Args:
        target: Folder of dbt's artefacts; every call from Dagster has a folder in it.
        keep: How many stay.

    Returns:
        Number of folders that were deleted.
    """
    runs = [path.parent for path in target.glob("*/dbt.log")]
    old = sorted(runs, key=lambda run: run.stat().st_mtime, reverse=True)[keep:]
    for run in old:
        shutil.rmtree(run, ignore_errors=True)
    return len(old)


def project_digest(project_dir: Path = DBT_PROJECT_DIR) -> str:
    """SHA-256 over the files that dbt parses, by path and content."""
    digest = hashlib.sha256()
    for path in sorted(project_dir.rglob("*")):
        relative = path.relative_to(project_dir)
        if path.suffix in _SOURCE_SUFFIXES and relative.parts[0] not in {"target", "logs"}:
            digest.update(str(relative).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def ensure_manifest(environment: Mapping[str, str], target: Path) -> Path:
    """The manifest of the project as it is now; parses only where the kept one is of other files.

    Args:
        environment: The full environment of the dbt process.
        target: Folder of dbt's artefacts.

    Returns:
        Path of `manifest.json`. With an unchanged project this costs a few milliseconds.

    Raises:
        WarehouseError: dbt could not parse the project; holds dbt's own message.
    """
    manifest, digest_file = target / "manifest.json", target / "project.sha256"
    digest = project_digest()
    if manifest.exists() and digest_file.exists() and digest_file.read_text() == digest:
        return manifest
    target.mkdir(parents=True, exist_ok=True)
    _run(dbt_command(["parse", "--quiet"], target), environment)
    digest_file.write_text(digest)
    return manifest


def generate_docs(database_url: str, state_dir: Path) -> Path:
    """Write the dbt docs of a database as one self-contained page.

    Args:
        database_url: The database whose tables the catalogue describes.
        state_dir: Folder of the stack's state.

    Returns:
        Path of `index.html`, below `<state_dir>/dbt/docs`.

    Raises:
        WarehouseError: dbt could not reach the database or read its catalogue; holds dbt's message.
    """
    site = state_dir / "dbt" / "docs"
    site.mkdir(parents=True, exist_ok=True)
    environment = process_environment(dbt_environment(database_url, state_dir))
    _run(dbt_command(["docs", "generate", "--static", "--quiet"], site), environment)
    page = site / "index.html"
    (site / "static_index.html").replace(page)
    return page


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    result = subprocess.run(
        command, env=dict(environment), cwd=DBT_PROJECT_DIR, capture_output=True, text=True
    )
    if result.returncode:
        raise WarehouseError(
            f"`dbt {' '.join(command[1:])}` failed in {DBT_PROJECT_DIR}. No table was changed.\n"
            f"{result.stdout}{result.stderr}"
        )
