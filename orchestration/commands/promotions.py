"""Verbs of a person over promotions: `promote approve`, `reject`, `rollback`, `history`.

Avoid judging here: `ml.registry.decide` writes the ledger and moves the alias.
"""

import getpass
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from orchestration.environment import Environment

if TYPE_CHECKING:
    from ml.registry.promotions import Decision

Model = Annotated[str, typer.Argument(help="Registered model, for example `failure-24h`.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose model.")]
Reason = Annotated[str, typer.Option("--because", help="Why; it stands in the ledger.")]
By = Annotated[str | None, typer.Option("--by", help="Who decides; the login name without it.")]

console = Console()


def register(app: typer.Typer) -> None:
    """Mount the group on the `opsgraph` command."""
    group = typer.Typer(help="Decide which model version serves.", no_args_is_help=True)
    group.command("approve")(approve)
    group.command("reject")(reject)
    group.command("rollback")(rollback)
    group.command("history")(history)
    app.add_typer(group, name="promote")


def approve(
    model: Model,
    tenant: Tenant,
    because: Reason,
    by: By = None,
    version: Annotated[str | None, typer.Option("--version", help="Instead of the one that waits.")] = None,
) -> None:
    """Let the version that waits serve.

    Example: `opsgraph promote approve failure-24h --tenant demo-plant --because "reviewed the card"`
    """
    from ml.registry import decide

    _carry_out(decide.approve, tenant, model, _person(by), because, version)


def reject(model: Model, tenant: Tenant, because: Reason, by: By = None) -> None:
    """Turn down the version that waits; the champion stays.

    Example: `opsgraph promote reject failure-24h --tenant demo-plant --because "too many false alarms"`
    """
    from ml.registry import decide

    _carry_out(decide.reject, tenant, model, _person(by), because)


def rollback(model: Model, tenant: Tenant, because: Reason, by: By = None) -> None:
    """Let the version before the champion serve again, in one call.

    Example: `opsgraph promote rollback failure-24h --tenant demo-plant --because "alarms since noon"`
    """
    from ml.registry import decide

    _carry_out(decide.roll_back, tenant, model, _person(by), because)


def history(
    model: Annotated[str | None, typer.Argument(help="One model; all of them without it.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="One tenant; all without it.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Most rows shown.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show who decided what, when and why, and from when to when each version served.

    Example: `opsgraph promote history failure-24h --tenant demo-plant`
    """
    import psycopg

    from ml.registry import promotions

    with psycopg.connect(Environment().database_url) as connection:
        rows = promotions.history(connection, tenant, model, limit)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2, default=str))  # noqa: T201
        return
    table = Table("decided (UTC)", "model", "tenant", "version", "decision", "by", "served", "why")
    for row in rows:
        served = ""
        if row.served_from:
            until = f"{row.served_to:%m-%d %H:%M}" if row.served_to else "now"
            served = f"{row.served_from:%m-%d %H:%M} to {until}"
        table.add_row(
            f"{row.decided_at:%Y-%m-%d %H:%M}",
            row.model_name,
            row.tenant_id,
            row.model_version,
            row.decision,
            row.decided_by,
            served,
            row.reason,
        )
    console.print(table if rows else "No decision yet: `opsgraph train` makes the first.")


def _carry_out(action: Callable[..., "Decision"], *arguments: Any) -> None:
    import psycopg

    from ml.registry.client import ModelRegistry
    from ml.registry.decide import NothingToDecideError

    environment = Environment()
    registry = ModelRegistry(environment.mlflow_tracking_uri)
    try:
        with psycopg.connect(environment.database_url) as connection:
            decision = action(connection, registry, *arguments)
    except NothingToDecideError as error:
        Console(stderr=True).print(f"[red]error[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    console.print(
        f"{decision.model_name} {decision.model_version} ({decision.tenant_id}): "
        f"[bold]{decision.decision}[/], {decision.reason}"
    )


def _person(given: str | None) -> str:
    return given or getpass.getuser()
