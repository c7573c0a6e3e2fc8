"""`opsgraph contracts …`: show, check and derive from the topics' contracts.

Add a verb here when people need one about contracts. Avoid logic: `orchestration.ingest.contracts` has it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from orchestration.environment import PROJECT_ROOT

if TYPE_CHECKING:  # the contracts bring pyarrow, half a second that `opsgraph --help` does not need
    from orchestration.ingest.contracts import ContractError, ContractField, PinnedSchema, TopicContract

app = typer.Typer(help="Contracts of the topics, and everything derived from them.", no_args_is_help=True)
console = Console()


def register(parent: typer.Typer) -> None:
    """Mount the group."""
    parent.add_typer(app, name="contracts")


@app.command()
def sync(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 and a list when a file is stale.")
    ] = False,
) -> None:
    """Derive schemas, migrations, dbt sources and macros, metrics and suites from the contracts.

    Example: `opsgraph contracts sync`, and in CI `opsgraph contracts sync --check`
    """
    from orchestration.ingest.contracts import ContractError
    from orchestration.ingest.contracts.sync import stale_files
    from orchestration.ingest.contracts.sync import sync as write_derived_files

    try:
        changed = stale_files(PROJECT_ROOT) if check else write_derived_files(PROJECT_ROOT)
    except ContractError as error:
        raise _failure(error) from error
    if not changed:
        console.print("Every derived file is what the contracts say; nothing to do.")
        return
    for file in changed:
        verb = ("missing" if file.is_new else "stale") if check else ("wrote" if file.is_new else "updated")
        console.print(f"{verb:8} {file.path}", highlight=False, soft_wrap=True)
    if check:
        console.print("Run `opsgraph contracts sync` and commit what it writes.")
        raise typer.Exit(1)
    if any(file.path.parent.name == "versions" for file in changed):
        console.print("A raw table changes with the next migration: `opsgraph up` runs it.")


@app.command()
def lint() -> None:
    """Check the contract files: well-formed, coherent, and no change that loses data already written.

    Example: `opsgraph contracts lint`
    """
    from orchestration.ingest.contracts import ContractError, load_contracts
    from orchestration.ingest.contracts.sync import derived_files

    try:
        derived_files(PROJECT_ROOT)
        contracts = load_contracts()
    except ContractError as error:
        raise _failure(error) from error
    fields = sum(len(contract.fields) for contract in contracts.values())
    console.print(f"{len(contracts)} contracts, {fields} fields, no fault.")


@app.command()
def show(topic: Annotated[str | None, typer.Argument(help="Topic; all when left out.")] = None) -> None:
    """Show all contracts, or the fields of one.

    Example: `opsgraph contracts show equipment-sensors`
    """
    from orchestration.ingest.contracts import ContractError, load_contracts, pinned_schemas

    try:
        contracts = load_contracts()
        pinned = pinned_schemas()
    except ContractError as error:
        raise _failure(error) from error
    if topic is None:
        console.print(_overview(contracts, pinned.values()))
    elif topic in contracts:
        console.print(_fields(contracts[topic]))
    else:
        console.print(f"No contract for topic {topic}; known are {', '.join(contracts)}.")
        raise typer.Exit(1)


def _overview(contracts: Mapping[str, "TopicContract"], pinned: Iterable["PinnedSchema"]) -> Table:
    topic = Column("topic", no_wrap=True)
    key = Column("message key", no_wrap=True)
    table = Table(topic, "format", "direction", "parts", key, "fields", "schema ids")
    for contract in contracts.values():
        ids = sorted(schema.schema_id for schema in pinned if schema.topic == contract.topic)
        table.add_row(
            contract.topic,
            contract.format,
            contract.direction,
            str(contract.partitions),
            "/".join(contract.message_key),
            str(len(contract.fields)),
            ", ".join(map(str, ids)),
        )
    return table


def _fields(contract: "TopicContract") -> Table:
    table = Table(
        Column("field", no_wrap=True), "type", "valid", "unit", "marks", Column("description", ratio=1),
        title=f"{contract.topic} {contract.version}: {contract.grain}; on violation {contract.on_violation}",
    )  # fmt: skip
    for field in contract.fields:
        marks = [
            "" if field.on_violation is contract.on_violation else field.on_violation,
            "required" * field.is_required,
            "key" * (field.name in contract.primary_key),
            "pii" * field.is_pii,
            field.role or "",
        ]
        table.add_row(
            field.name,
            field.physical_type,
            _valid(field),
            field.unit or "",
            " ".join(filter(None, marks)),
            field.description,
        )
    return table


def _valid(field: "ContractField") -> str:
    if field.enum:
        return " | ".join(field.enum)
    bounds = [
        str(bound.date() if isinstance(bound, datetime) else "" if bound is None else bound)
        for bound in (field.minimum, field.maximum)
    ]
    return " … ".join(bounds) if any(bounds) else ""


def _failure(error: "ContractError") -> typer.Exit:
    for line in str(error).splitlines():
        console.print(f"[red]✗[/red] {line}", highlight=False, soft_wrap=True)
    console.print("Nothing was written.")
    return typer.Exit(1)
