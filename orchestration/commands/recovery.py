"""Verbs that bring landed data back: `reland`, `restore`, `vault …`.

Add a verb here when something that was landed must be had again. Avoid logic: `orchestration.ingest` has it.
"""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.commands.landing import landed_of, landing_services
from orchestration.environment import Environment

if TYPE_CHECKING:  # landing brings pyarrow and polars, which `opsgraph --help` does not need
    from orchestration.ingest.reland import RelandReport, Window

console = Console()
vault_app = typer.Typer(help="Copies of the keys of personal data.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verbs to the `opsgraph` command."""
    app.command("reland")(reland)
    app.command("restore")(restore)
    app.add_typer(vault_app, name="vault")


def reland(
    topic: Annotated[str, typer.Argument(help="Topic that was landed.")],
    partition: Annotated[
        int | None, typer.Option(help="Only this partition; --from and --to need it.")
    ] = None,
    first: Annotated[int | None, typer.Option("--from", help="First offset.")] = None,
    last: Annotated[int | None, typer.Option("--to", help="Offset after the last one.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Landed from this instant on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Landed before this instant (UTC).")] = None,
    source: Annotated[
        str | None, typer.Option(help="kafka or lake; by default Kafka as far as it goes, then the lake.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Land a range of offsets or a time window again, to the same result.

    Example: `opsgraph reland equipment-sensors --partition 0 --from 1000 --to 2000`,
    `opsgraph reland raw_logs --since 2026-11-20 --until 2026-11-21 --source lake`
    """
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.offsets import LandingError
    from orchestration.ingest.reland import reland as land_again

    contracts = load_contracts()
    landed_of(contracts, [topic])
    try:
        report = land_again(
            landing_services(Environment()),
            contracts,
            _window(topic, partition, first, last, since, until, source),
        )
    except LandingError as error:
        console.print(str(error), soft_wrap=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
    else:
        _print(report)
    if report.unreachable:
        raise typer.Exit(1)


def _window(
    topic: str,
    partition: int | None,
    first: int | None,
    last: int | None,
    since: datetime | None,
    until: datetime | None,
    source: str | None,
) -> "Window":
    from orchestration.ingest.offsets import Range
    from orchestration.ingest.reland import Window
    from orchestration.ingest.reland_sources import Source

    if source not in (None, *Source):
        raise typer.BadParameter(f"--source {source}: choose kafka or lake.")
    if (first is None) != (last is None) or (first is not None and partition is None):
        raise typer.BadParameter("Offsets need all of --partition, --from and --to.")
    if first is None and since is None and until is None:
        raise typer.BadParameter("Name a range (--partition, --from, --to) or a window (--since, --until).")
    offsets = Range(first, last) if first is not None and last is not None else None
    if offsets and len(offsets) <= 0:
        raise typer.BadParameter("--to must be greater than --from.")
    return Window(topic, partition, offsets, _utc(since), _utc(until), Source(source) if source else None)


def _utc(instant: datetime | None) -> datetime | None:
    return instant.replace(tzinfo=UTC) if instant and instant.tzinfo is None else instant


def _print(report: "RelandReport") -> None:
    taken = ", ".join(f"{count} batches from {source}" for source, count in report.batches.items())
    console.print(f"{taken or 'no batch'} landed again:", highlight=False)
    for sentence in report.sentences():
        console.print(f"  {sentence}", highlight=False)
    if report.has_moved_keys:
        console.print(
            "[yellow]Some newer versions have another key than the older ones: build the warehouse anew with "
            "`opsgraph warehouse build --full-refresh`, or both are in it.[/]",
            soft_wrap=True,
        )
    for text in report.unreachable:
        console.print(f"[red]{escape(text)}[/]", soft_wrap=True)


def restore(
    from_lake: Annotated[
        bool, typer.Option("--from-lake", help="Rebuild from the lake alone; there is no other source yet.")
    ] = False,
    topics: Annotated[
        list[str] | None, typer.Argument(help="Topics; all that are landed by default.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also topics that have a ledger: the lake takes its place.")
    ] = False,
    keys: Annotated[
        Path | None, typer.Option(help="Copy of the keys of personal data (`opsgraph vault export`).")
    ] = None,
) -> None:
    """Rebuild raw tables, ledger, positions and dead letters in Postgres from the lake.

    Example: `opsgraph restore --from-lake --keys /safe/opsgraph-keys.json`
    """
    import psycopg

    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.offsets import LandingError
    from orchestration.ingest.restore import restore as rebuild
    from orchestration.ingest.retention import holds

    if not from_lake:
        raise typer.BadParameter("Say --from-lake. A dump of Postgres is restored with its own tools.")
    environment, contracts = Environment(), load_contracts()
    landed_of(contracts, topics)
    try:
        if keys is not None:
            _import(environment, keys)
        done = rebuild(landing_services(environment), contracts, topics, replace)
        with psycopg.connect(environment.database_url) as connection:
            in_force = holds(connection)
    except LandingError as error:
        console.print(str(error), soft_wrap=True)
        raise typer.Exit(1) from error
    table = Table("topic", "rows", "ledger rows", "dead letters", "without ledger", "rows/s", "catalog")
    for item in done:
        table.add_row(
            item.topic, f"{item.rows:,}", f"{item.ledger_rows:,}", f"{item.dead_letters:,}",
            f"{item.without_ledger:,}", f"{item.rows / item.seconds:,.0f}",
            "found again" if item.was_unknown else "known",
        )  # fmt: skip
    console.print(table if done else "The lake has no table of these topics.")
    for hold in in_force:
        console.print(f"[yellow]hold {hold.hold_id}: {escape(hold.reason)}[/]", soft_wrap=True)
    console.print("Next: `opsgraph ledger check`, then `opsgraph land`, which goes on at the lake's offsets.")


@vault_app.command("export")
def export(path: Annotated[Path, typer.Argument(help="File that does not exist yet.")]) -> None:
    """Copy the keys and originals of personal data to a file for its owner's eyes.

    Example: `opsgraph vault export /safe/opsgraph-keys.json`
    """
    import psycopg

    from orchestration.ingest.key_backup import export_keys

    try:
        with psycopg.connect(Environment().database_url) as connection:
            count = export_keys(connection, path)
    except FileExistsError:
        console.print(f"{path} exists and was not touched; name another file.")
        raise typer.Exit(1) from None
    console.print(
        f"{count} keys are in {path}. They open every original: keep the file apart from the lake, and "
        "write it anew (deleting this one) after each `opsgraph erase`.",
        soft_wrap=True,
    )


@vault_app.command("import")
def import_(path: Annotated[Path, typer.Argument(help="File from `vault export`.")]) -> None:
    """Bring keys back; those that are there stay, and erased people stay erased.

    Example: `opsgraph vault import /safe/opsgraph-keys.json`
    """
    _import(Environment(), path)


def _import(environment: Environment, path: Path) -> None:
    import psycopg

    from orchestration.ingest.key_backup import KeyFileError, import_keys

    try:
        with psycopg.connect(environment.database_url) as connection:
            added = import_keys(connection, path)
    except (KeyFileError, FileNotFoundError) as error:
        console.print(str(error), soft_wrap=True)
        raise typer.Exit(1) from None
    console.print(f"{added} keys were added")
