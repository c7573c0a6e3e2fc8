"""Verbs of the batch, push and pull sources: `intake folder|pull|secret|status`.

Add a verb here when there is another kind of source. Avoid logic: it belongs to `ingest.intake`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.environment import Environment

if TYPE_CHECKING:
    import psycopg

    from orchestration.ingest.intake.drop_folder import Folder

console = Console()
intake = typer.Typer(
    help="Files, web requests, APIs and databases into the topics.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


def register(app: typer.Typer) -> None:
    """Add the verbs to the `opsgraph` command."""
    intake.command("folder")(folder)
    intake.command("pull")(pull)
    intake.command("secret")(secret)
    intake.command("status")(status)
    app.add_typer(intake, name="intake")


def folder(
    path: Annotated[str, typer.Argument(help="Folder or `s3://bucket/prefix`; files lie in `<topic>/`.")],
) -> None:
    """Send each file of a drop folder once: CSV, JSON lines, parquet, plain or gzip.

    Example: `opsgraph intake folder /data/drop` takes `/data/drop/equipment-sensors/monday.csv`
    """
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
    from orchestration.ingest.intake.drop_folder import take_files

    environment, contracts = Environment(), load_contracts()
    with _connected(environment) as connection, _plain_errors():
        schemas = SchemaCatalog(contracts, environment.schema_registry_url)
        servers = environment.kafka_bootstrap_servers
        outcomes = take_files(open_folder(path), connection, servers, contracts, schemas)
    table = Table("file", "rows sent", "rows refused", "what happened")
    for item in outcomes:
        counts = (f"{item.intake.sent:,}", f"{item.intake.refused:,}") if item.intake else ("", "")
        said = item.problem or "; ".join(item.intake.reasons if item.intake else ())
        table.add_row(escape(item.path), *counts, escape(said))
    console.print(table if outcomes else "No new file.")
    if any(item.problem for item in outcomes):
        raise typer.Exit(1)


def pull(
    source: Annotated[Path, typer.Argument(help="YAML file that describes an API or a database.")],
    max_pages: Annotated[int | None, typer.Option(help="Pages at most; all by default.")] = None,
) -> None:
    """Send what an API or a database has that is new since the last pull.

    Example: `opsgraph intake pull sources/cmms.yaml`
    """
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
    from orchestration.ingest.intake.pull import load_source
    from orchestration.ingest.intake.pull import pull as pull_pages

    environment, contracts = Environment(), load_contracts()
    with _connected(environment) as connection, _plain_errors():
        schemas = SchemaCatalog(contracts, environment.schema_registry_url)
        servers = environment.kafka_bootstrap_servers
        found = pull_pages(load_source(source), connection, servers, contracts, max_pages, schemas)
    console.print(f"{found.topic}: {found.sent:,} rows sent, {found.refused:,} refused")
    for reason in found.reasons:
        console.print(f"  {escape(reason)}")


def secret(tenant: Annotated[str, typer.Argument(help="Tenant that pushes records.")]) -> None:
    """Make the secret that signs a tenant's requests to `POST /v1/stream-data`; the old one ends.

    Example: `opsgraph intake secret demo-plant`
    """
    from orchestration.ingest.intake.requests import make_secret

    with _connected(Environment()) as connection:
        made = make_secret(connection, tenant)
    console.print(f"{made}\nKeep it: it is not shown again. Sign the body's bytes with HMAC-SHA256.")


def status() -> None:
    """Show what each source has sent.

    Example: `opsgraph intake status`
    """
    with _connected(Environment()) as connection:
        rows = connection.execute(
            """
            select source, count(*) || ' files', sum(sent)::bigint, sum(refused)::bigint, max(taken_at)
            from ops.intake_files group by source
            union all
            select source, 'cursor ' || position::text, sent, refused, moved_at from ops.intake_cursors
            union all
            select 'push ' || tenant_id, count(*) || ' requests', sum((response ->> 'sent')::bigint)::bigint,
                sum((response ->> 'refused')::bigint)::bigint, max(begun_at)
            from ops.intake_requests where response is not null group by tenant_id
            order by 1
            """
        ).fetchall()
    table = Table("source", "reached", "rows sent", "rows refused", "last (UTC)")
    for name, reached, sent, refused, last in rows:
        table.add_row(escape(name), escape(reached), f"{sent:,}", f"{refused:,}", f"{last:%Y-%m-%d %H:%M}")
    console.print(table if rows else "No source has sent anything.")


def open_folder(path: str) -> "Folder":
    """A local folder or an S3 prefix, as its path says."""
    from orchestration.ingest.intake.drop_folder import local_folder, s3_folder

    if not path.startswith("s3://"):
        return local_folder(Path(path))
    import boto3

    parts = urlsplit(path)
    return s3_folder(boto3.client("s3"), parts.netloc, parts.path)


@contextmanager
def _connected(environment: Environment) -> "Iterator[psycopg.Connection[Any]]":
    import psycopg

    with psycopg.connect(environment.database_url, autocommit=True) as connection:
        yield connection


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn what a person can mend into a message and exit code 1."""
    from orchestration.ingest.contracts import ContractError
    from orchestration.ingest.contracts.schema_catalog import SchemaRegistryUnavailableError
    from orchestration.ingest.intake.drop_folder import FolderError
    from orchestration.ingest.producer import DeliveryError

    try:
        yield
    except (ContractError, DeliveryError, FolderError, SchemaRegistryUnavailableError) as error:
        console.print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(1) from None
