"""Verbs about what arrives and how fast it may: `topics`, `quota …`.

Add a verb here when people ask something else about what arrives. Avoid logic: `ingest.topic_health`,
`ingest.sink_states` and `ingest.quotas` have it.
"""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.environment import Environment

if TYPE_CHECKING:
    from orchestration.ingest.sink_states import LanderState

console = Console()
quota_app = typer.Typer(help="Messages per second over which a tenant's messages wait.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verbs to the `opsgraph` command."""
    app.command("topics")(topics)
    app.add_typer(quota_app, name="quota")


def topics(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show the landers and their sinks; volume, silent and new keys, and lateness of every topic by tenant.

    Example: `opsgraph topics`
    """
    import psycopg

    from orchestration.ingest.contracts import Direction, load_contracts
    from orchestration.ingest.topic_health import judge, observe

    environment, found = Environment(), []
    landers = states(environment)
    if not as_json:
        for lander in landers:
            print_lander(lander)
    with psycopg.connect(environment.database_url) as connection:
        for contract in load_contracts().values():
            if contract.direction is Direction.IN:
                observe(connection, contract)
                connection.commit()
                found += judge(connection, contract)
    if as_json:
        print(json.dumps([asdict(item) for item in found], indent=2, default=str))  # noqa: T201
        return
    table = Table(
        "topic", "tenant", "last hour", "usual", "z", "keys", "new", "silent", "p50 s", "p95 s", "max s"
    )
    for item in found:
        volume, late = item.volume, item.lateness
        table.add_row(
            item.topic,
            item.tenant_id,
            f"{volume.row_count:,}" if volume else "",
            f"{volume.usual:,.0f}" if volume and volume.usual is not None else "",
            f"[red]{volume.z:.1f}[/red]"
            if volume and volume.is_unusual
            else f"{volume.z:.1f}"
            if volume
            else "",
            str(item.keys),
            ", ".join(item.new_keys),
            f"[red]{', '.join(item.silent_keys)}[/red]" if item.silent_keys else "",
            f"{late.p50_s:.0f}",
            f"{late.p95_s:.0f}",
            f"{late.max_s:.0f}",
        )
    console.print(table if found else "Nothing has landed yet.")
    for item in found:
        for change in item.changed_fields:
            console.print(f"[red]{item.topic}, {item.tenant_id}: {change}[/red]", soft_wrap=True)


def states(environment: Environment) -> "list[LanderState]":
    """What the landers have said last; of the one of this machine also while Postgres is away."""
    from orchestration.ingest.sink_states import STATE_FILE, known_states

    return known_states(environment.database_url, environment.state_dir / STATE_FILE)


def print_lander(lander: "LanderState") -> None:
    """One line, or one for each sink that can't be written to."""
    console.print(f"{escape(lander.lander)}, heard {lander.age_s:.0f} s ago: ", end="", highlight=False)
    if lander.open_sinks:
        console.print("[red]waits; positions stay where they are[/]")
    elif lander.refused:
        console.print(f"[red]{len(lander.refused)} topics are left out[/], the others are landed")
    else:
        console.print("[green]all sinks take data[/]")
    for topic, state in lander.refused.items():
        since = state["since"]
        console.print(
            f"  [red]{escape(topic)}[/] left out since {since}: {escape(state['reason'])}",
            soft_wrap=True, highlight=False,
        )  # fmt: skip
    for sink, reason in lander.open_sinks.items():
        since = lander.sinks[sink]["since"]
        console.print(f"  [red]{sink}[/] since {since}: {escape(reason)}", soft_wrap=True, highlight=False)


@quota_app.command("set")
def set_(
    tenant: Annotated[str, typer.Argument(help="Tenant.")],
    rate: Annotated[float, typer.Argument(min=0.001, help="Messages per second.")],
    by: Annotated[str, typer.Option("--by", help="Who decides; it is kept with the quota.")],
) -> None:
    """Let a tenant land so many messages per second; what is beyond waits in Kafka and is not lost.

    Example: `opsgraph quota set demo-plant 5000 --by operations`
    """
    _set(tenant, rate, by)
    console.print(f"{tenant}: at most {rate:,.0f} messages/s. The landing service takes it up within 5 s.")


@quota_app.command("remove")
def remove(tenant: Annotated[str, typer.Argument(help="Tenant.")]) -> None:
    """End a tenant's quota.

    Example: `opsgraph quota remove demo-plant`
    """
    _set(tenant, None, "")
    console.print(f"{tenant} has no quota.")


def _set(tenant: str, rate: float | None, by: str) -> None:
    import psycopg

    from orchestration.ingest.quotas import set_quota

    with psycopg.connect(Environment().database_url) as connection:
        set_quota(connection, tenant, rate, by)


@quota_app.command("list")
def list_() -> None:
    """Show the quotas.

    Example: `opsgraph quota list`
    """
    import psycopg

    from orchestration.ingest.quotas import quotas

    with psycopg.connect(Environment().database_url) as connection:
        found = quotas(connection)
    table = Table("tenant", "messages/s")
    for tenant, rate in found.items():
        table.add_row(escape(tenant), f"{rate:,.0f}")
    console.print(table if found else "No tenant has a quota.")
