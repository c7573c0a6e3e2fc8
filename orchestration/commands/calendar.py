"""Verbs of the incident calendar: `calendar list`, `add`, `import`, `remove`.

Add a verb here when a person wants to tell the models what not to learn from. Avoid logic: it belongs
to `ml.datasets.incident_calendar`.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from orchestration.environment import Environment

Tenant = Annotated[str, typer.Option("--tenant", help="Owner of the rows.")]
KnownAt = Annotated[
    str | None, typer.Option("--known-at", help="Since when it is known (UTC); since now by default.")
]
console = Console()
calendar = typer.Typer(
    help="Periods that baselines, drift references, labels and forecasts leave out.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add the verbs to the `opsgraph` command."""
    app.add_typer(calendar, name="calendar")


@calendar.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option("--tenant", help="One tenant; all by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show the calendar, newest period first."""
    import psycopg

    from ml.datasets.incident_calendar import incidents

    with psycopg.connect(Environment().database_url) as connection:
        found = incidents(connection, tenant)
    if as_json:
        print(json.dumps([vars(one) for one in found], indent=2, default=str))  # noqa: T201
        return
    table = Table("id", "tenant", "machine", "kind", "from (UTC)", "to (UTC)", "reason", "source")
    for one in found:
        table.add_row(
            one.incident_id,
            one.tenant_id,
            one.equipment_id or "all",
            one.kind,
            f"{one.starts_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            f"{one.ends_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            one.reason,
            one.source,
        )
    console.print(table if found else "The calendar is empty. Add a period with `opsgraph calendar add`.")


@calendar.command("add")
def add(
    kind: Annotated[str, typer.Argument(help="maintenance, outage, anomaly, recall, sensor_fault, holiday.")],
    starts_at: Annotated[str, typer.Argument(help="First instant, ISO 8601, UTC.")],
    ends_at: Annotated[str, typer.Argument(help="First instant after it.")],
    tenant: Tenant = "demo-plant",
    equipment: Annotated[str | None, typer.Option(help="One machine; the whole plant by default.")] = None,
    reason: Annotated[str, typer.Option(help="In words.")] = "",
    known_at: KnownAt = None,
) -> None:
    """Add one period.

    Example: `opsgraph calendar add outage 2026-02-03T06:00 2026-02-03T18:00 --equipment CNC-A-101`
    """
    import psycopg

    from ml.datasets import incident_calendar as rows

    try:
        since = rows.instant(known_at) if known_at else datetime.now(UTC)
        one = rows.incident(
            tenant,
            equipment,
            kind,
            rows.instant(starts_at),
            rows.instant(ends_at),
            since,
            reason or kind,
            "command line",
        )
    except ValueError as error:
        _fail(f"{error}. Nothing was added.")
    with psycopg.connect(Environment().database_url) as connection:
        new = rows.add(connection, [one])
    console.print(f"{'added' if new else 'was there already:'} {one.incident_id}")


@calendar.command("import")
def import_(
    path: Annotated[
        Path | None, typer.Argument(help="CSV: equipment_id,kind,starts_at,ends_at,reason[,known_at].")
    ] = None,
    tenant: Tenant = "demo-plant",
    from_plant: Annotated[bool, typer.Option(help="Outages that the plant's work orders tell.")] = False,
    known_at: KnownAt = None,
) -> None:
    """Import periods from a file, or from what the plant's work orders tell; all rows or none.

    Example: `opsgraph calendar import --from-plant`
    """
    import psycopg

    from ml.datasets import incident_calendar as rows

    if path is None and not from_plant:
        _fail("Nothing to import: name a CSV file, or say --from-plant.")
    with psycopg.connect(Environment().database_url) as connection:
        try:
            since = rows.instant(known_at) if known_at else datetime.now(UTC)
            found = rows.read_csv(path, tenant, since) if path else []
        except (rows.CalendarFormatError, OSError) as error:
            _fail(str(error))
        found += rows.from_plant(connection, tenant) if from_plant else []
        new = rows.add(connection, found)
    console.print(f"{new} new periods; {len(found) - new} were there already")


@calendar.command("remove")
def remove(incident_ids: Annotated[list[str], typer.Argument(help="Ids as `calendar list` shows.")]) -> None:
    """Take periods out of the calendar."""
    import psycopg

    from ml.datasets import incident_calendar as rows

    with psycopg.connect(Environment().database_url) as connection:
        gone = rows.remove(connection, incident_ids)
    if gone < len(incident_ids):
        _fail(f"{gone} of {len(incident_ids)} were in the calendar and are removed; the others are unknown.")
    console.print(f"removed {gone}")


def _fail(message: str) -> NoReturn:
    Console(stderr=True).print(f"[red]error[/] {message}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)
