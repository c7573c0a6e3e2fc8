"""The verb that shows whether topics look as usual: `topics`.

Add a verb here when people ask something else about what arrives. Avoid logic: `ingest.topic_health` has it.
"""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from orchestration.environment import Environment

console = Console()


def register(app: typer.Typer) -> None:
    """Add the verb to the `opsgraph` command."""
    app.command("topics")(topics)


def topics(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show volume, silent and new keys, and lateness of every landed topic, tenant by tenant.

    Example: `opsgraph topics`
    """
    import psycopg

    from orchestration.ingest.contracts import Direction, load_contracts
    from orchestration.ingest.topic_health import judge, observe

    found = []
    with psycopg.connect(Environment().database_url) as connection:
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
