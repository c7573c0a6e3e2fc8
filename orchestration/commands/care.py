"""Verbs of what is kept and forgotten: `erase`, `hold …`, `retention`, `dead-letters expire`, `lake upkeep`.

Add a verb here when a person decides on keeping or forgetting. Avoid logic: `orchestration.ingest` has it.
"""

from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.commands.landing import landing_services, letters_app
from orchestration.environment import Environment

console = Console()
hold_app = typer.Typer(help="Legal holds: what must not be deleted.", no_args_is_help=True)
lake_app = typer.Typer(help="Care of the lake.", no_args_is_help=True)
By = Annotated[str, typer.Option("--by", help="Who asks; it is kept with the record.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the record.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the `opsgraph` command."""
    app.command("erase")(erase)
    app.command("retention")(retention)
    app.add_typer(hold_app, name="hold")
    app.add_typer(lake_app, name="lake")
    letters_app.command("expire")(expire)


def erase(
    value: Annotated[str, typer.Argument(help="The person as the sources write it, for example `T-17`.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Tenant whose data name the person.")],
    by: By,
    reason: Reason,
) -> None:
    """Erase a person: delete the key, clean the dead letters, and search everything for what is left.

    Example: `opsgraph erase T-17 --tenant demo-plant --by "works council" --reason "left the plant"`
    """
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.erasure import UnknownSubjectError
    from orchestration.ingest.erasure import erase as erase_person

    environment = Environment()
    try:
        done = erase_person(landing_services(environment), load_contracts(), tenant, value, by, reason)
    except UnknownSubjectError as error:
        console.print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(1) from None
    key = (
        "its key was deleted" if done.had_key else "there was no key: nothing of this person was ever landed"
    )
    console.print(f"{done.token}: {key}; {done.dead_letters} dead letters were emptied.")
    console.print(
        f"{done.searched} columns and lake tables searched: "
        + ("nothing readable is left." if done.is_complete else "the value can still be read here:")
    )
    for finding in done.findings:
        console.print(f"  [red]{escape(finding.place)}[/red]: {finding.rows} rows")
    console.print(
        "Kafka keeps its messages, those of the `.dlq` topics too, until the retention of their topics "
        "(`retention.ms`) has passed.",
        soft_wrap=True,
    )
    if not done.is_complete:
        raise typer.Exit(1)


def retention(
    hot_days: Annotated[
        int | None, typer.Option(min=1, help="Days after which rows leave raw; the lake keeps them.")
    ] = None,
    warm_days: Annotated[
        int | None, typer.Option(min=1, help="Days after which the lake's files move to its archived prefix.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would move and what is held.")] = False,
) -> None:
    """Move old days from Postgres to the lake alone, and in the lake to its archived prefix.

    Example: `opsgraph retention --hot-days 30 --warm-days 365 --dry-run`
    """
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.temperature import move_days

    environment = Environment()
    hot, warm = hot_days or environment.hot_days, warm_days or environment.warm_days
    if hot is None and warm is None:
        raise typer.BadParameter(
            "Give --hot-days or --warm-days, or set OPSGRAPH_HOT_DAYS or OPSGRAPH_WARM_DAYS."
        )
    moves = move_days(
        landing_services(environment), load_contracts(), timedelta(days=hot) if hot else None,
        timedelta(days=warm) if warm else None, dry_run,
    )  # fmt: skip
    table = Table("topic", "day", "rows", "to", "")
    for move in moves:
        outcome = "would move" if dry_run else "has moved"
        said = "[yellow]held: " + escape("; ".join(move.held)) + "[/yellow]" if move.held else outcome
        table.add_row(move.topic, f"{move.day}", f"{move.rows:,}", move.target, said)
    console.print(table if moves else "No day is old enough.")


@hold_app.command("place")
def place(
    by: By,
    reason: Reason,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="One tenant; all of them by default.")
    ] = None,
) -> None:
    """Keep everything until the hold is released.

    Example: `opsgraph hold place --by legal --reason "case 7"`
    """
    import psycopg

    from orchestration.ingest.retention import place_hold

    with psycopg.connect(Environment().database_url) as connection:
        number = place_hold(connection, reason, by, tenant)
    console.print(f"hold {number} is in force; `opsgraph hold release {number}` ends it")


@hold_app.command("release")
def release(number: Annotated[int, typer.Argument(help="Number from `hold list`.")]) -> None:
    """End a hold.

    Example: `opsgraph hold release 1`
    """
    import psycopg

    from orchestration.ingest.retention import release_hold

    with psycopg.connect(Environment().database_url) as connection:
        was_in_force = release_hold(connection, number)
    console.print(f"hold {number} " + ("is released" if was_in_force else "is not in force: nothing changed"))
    if not was_in_force:
        raise typer.Exit(1)


@hold_app.command("list")
def list_holds() -> None:
    """Show the holds in force.

    Example: `opsgraph hold list`
    """
    import psycopg

    from orchestration.ingest.retention import holds

    with psycopg.connect(Environment().database_url) as connection:
        found = holds(connection)
    table = Table("hold", "tenant", "reason", "placed by", "since (UTC)")
    for hold in found:
        since = f"{hold.placed_at:%Y-%m-%d %H:%M}"
        table.add_row(
            str(hold.hold_id), hold.tenant_id or "all", escape(hold.reason), escape(hold.placed_by), since
        )
    console.print(table if found else "No hold is in force.")


def expire(
    older_than_days: Annotated[float, typer.Option("--older-than-days", help="Age from landing on.")] = 90.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only.")] = False,
) -> None:
    """Delete the bytes of old dead letters; their rows stay, so the ledger still balances.

    Example: `opsgraph dead-letters expire --older-than-days 90 --dry-run`
    """
    from orchestration.ingest.contracts import Direction, load_contracts
    from orchestration.ingest.retention import expire_everywhere

    landed = [item for item in load_contracts().values() if item.direction is Direction.IN]
    services, age = landing_services(Environment()), timedelta(days=older_than_days)
    expiry = expire_everywhere(services, landed, age, dry_run)
    for topic, count in expiry.by_topic.items():
        console.print(f"{topic}: {count:,}")
    if expiry.held and expiry.count:
        reasons = "; ".join(f"hold {hold.hold_id}: {hold.reason}" for hold in expiry.held)
        console.print(f"[yellow]Nothing was deleted: {escape(reasons)}[/yellow]")
    else:
        console.print(f"{expiry.count:,} dead letters " + ("would expire" if dry_run else "have expired"))
        if expiry.sent:
            console.print(f"{expiry.sent:,} notes of sent messages have gone.")


@lake_app.command("upkeep")
def upkeep(
    keep_days: Annotated[float, typer.Option("--keep-days", help="Age up to which snapshots stay.")] = 7.0,
) -> None:
    """Rewrite days of many small files as few sorted ones, and drop old snapshots.

    Example: `opsgraph lake upkeep --keep-days 7`
    """
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.lake_upkeep import keep_up

    services = landing_services(Environment())
    done = keep_up(services, load_contracts(), kept=timedelta(days=keep_days))
    table = Table("table", "files before", "files after", "days rewritten", "snapshots dropped", "left")
    for item in done:
        table.add_row(
            item.table, str(item.files_before), str(item.files_after), str(len(item.days)),
            str(item.expired), item.skipped,
        )  # fmt: skip
    console.print(table if done else "The lake has no table yet.")
