"""The warehouse verbs: build and test the dbt models, and serve their documentation.

Add a verb that a person needs beside Dagster. Avoid building arguments here: `dbt_invocation` does.
"""

import functools
import http.server
import subprocess
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from psycopg import sql
from rich.console import Console

from orchestration.dbt_invocation import (
    DBT_PROJECT_DIR,
    LAYERS,
    WarehouseError,
    as_of_schema,
    build_arguments,
    dbt_command,
    dbt_environment,
    generate_docs,
    parse_as_of,
    process_environment,
    target_dir,
)
from orchestration.environment import Environment

app = typer.Typer(help="Build and test the dbt models.", no_args_is_help=True)
_console = Console(stderr=True)

# The page carries everything in itself; the browser is told to fetch nothing from elsewhere.
DOCS_POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"


@app.callback()
def _warehouse() -> None:
    """Build and test the dbt models."""


@app.command()
def build(
    select: Annotated[
        list[str] | None,
        typer.Option("--select", help="dbt selector; may be given several times. Default: everything."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="Build as known at this instant (ISO 8601), into schemas of its own."),
    ] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Build incremental models from nothing.")
    ] = False,
) -> None:
    """Build the warehouse from the batches landed since the last build, and test it.

    Example: `opsgraph warehouse build --select mart_equipment_health --as-of 2015-03-01T00:00:00Z`
    """
    environment = Environment()
    try:
        instant = parse_as_of(as_of) if as_of else None
        variables = dbt_environment(environment.database_url, environment.state_dir)
    except WarehouseError as error:
        _console.print(str(error), style="red")
        raise typer.Exit(2) from error
    command = dbt_command(
        build_arguments(select or (), instant, full_refresh), target_dir(environment.state_dir, instant)
    )
    code = subprocess.run(command, env=process_environment(variables), cwd=DBT_PROJECT_DIR).returncode
    if code:
        _console.print(
            "The warehouse was not built to the end. Tables built before the error stay and are sound; "
            "models below it kept their last state. The lines above name the model or test: correct it "
            "and run the same command again.",
            style="red",
        )
        raise typer.Exit(code)
    if instant:
        _console.print(f"Built as known at {instant.isoformat()} into {as_of_schema('marts', instant)}.")


@app.command()
def drop(as_of: Annotated[str, typer.Argument(help="The instant that was built (ISO 8601).")]) -> None:
    """Drop the schemas of an as-of build; the warehouse itself is not touched.

    Example: `opsgraph warehouse drop 2015-03-01T00:00:00Z`
    """
    try:
        schemas = [as_of_schema(layer, parse_as_of(as_of)) for layer in LAYERS]
    except WarehouseError as error:
        _console.print(str(error), style="red")
        raise typer.Exit(2) from error
    with psycopg.connect(Environment().database_url) as connection:
        for schema in schemas:
            connection.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema)))
    _console.print(f"Dropped {', '.join(schemas)} where they existed.")


def docs(
    port: Annotated[int | None, typer.Option(help="Port to serve on; default 8580.")] = None,
    serve: Annotated[bool, typer.Option(help="Serve the page until Ctrl-C; or only write it.")] = True,
) -> None:
    """Write the warehouse's documentation (models, tests, lineage) and serve it.

    Example: `opsgraph docs --port 8580`
    """
    environment = Environment()
    try:
        page = generate_docs(environment.database_url, environment.state_dir)
    except WarehouseError as error:
        _console.print(str(error), style="red")
        raise typer.Exit(1) from error
    if not serve:
        typer.echo(str(page))
        return
    with docs_server(page.parent, port if port is not None else environment.docs_port) as server:
        _console.print(f"dbt docs on http://127.0.0.1:{server.server_address[1]} (Ctrl-C stops)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            _console.print("Stopped.")


class _DocsHandler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", DOCS_POLICY)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal free of one line per request."""


def docs_server(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """A server of a folder on the loopback address that forbids requests to anywhere else.

    Raises:
        typer.Exit: The port is taken.
    """
    handler = functools.partial(_DocsHandler, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        _console.print(
            f"Port {port} can't be opened: {error.strerror}. The page is written to {folder / 'index.html'}. "
            "Choose another port: opsgraph docs --port 8581",
            style="red",
        )
        raise typer.Exit(1) from error


def register(parent: typer.Typer) -> None:
    """Mount `warehouse` and `docs` on the command line."""
    parent.add_typer(app, name="warehouse")
    parent.command()(docs)
