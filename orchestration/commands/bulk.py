"""The verbs of bulk jobs over the lake: `bulk run` and `bulk stream`.

Add a verb here when a job over whole tables is asked for by hand. Avoid logic: `ingest.bulk` has it.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from orchestration.environment import PROJECT_ROOT, Environment

if TYPE_CHECKING:
    from orchestration.ingest.bulk.spark_process import Spark
    from orchestration.ingest.contracts import TopicContract

app = typer.Typer(help="Bulk jobs over the lake, in this process (Polars) or on Spark.", no_args_is_help=True)


class Engine(StrEnum):
    """What runs a bulk job."""

    POLARS = "polars"
    SPARK = "spark"


def register(parent: typer.Typer) -> None:
    """Add the group to the `opsgraph` command."""
    parent.add_typer(app, name="bulk")


@app.command()
def run(
    topic: Annotated[
        str, typer.Argument(help="Topic whose table of the lake is read.")
    ] = "equipment-sensors",
    engine: Annotated[Engine, typer.Option(help="Both write equal rows.")] = Engine.POLARS,
) -> None:
    """Cleanse a topic's rows in the lake; write features, daily and weekly aggregates to `silver`.

    Example: `opsgraph bulk run equipment-sensors --engine spark`
    """
    from orchestration.ingest.bulk.plan import BulkError, plan_of
    from orchestration.ingest.bulk.silver import run_with_polars
    from orchestration.ingest.lake import Lake

    environment, contract = Environment(), _contract(topic)
    try:
        plan = plan_of(contract)
        if engine is Engine.SPARK:
            counts = _spark(environment).bulk(plan)
        else:
            lake = Lake(environment.lake_url, environment.lake_catalog_uri)
            counts = run_with_polars(lake, contract, plan)
    except BulkError as error:
        _fail(str(error))
    for name, rows in counts.items():
        typer.echo(f"silver.{name:<40} {rows:>12,} rows")


@app.command()
def stream(
    topic: Annotated[str, typer.Argument(help="Avro topic without personal fields.")] = "equipment-sensors",
) -> None:
    """Land what waits in a topic with Spark Structured Streaming into `streamed.<table>` of the lake.

    For plants that already run Spark: exactly once by its checkpoint, the contract's rules applied, refused
    messages beside the rows with their bytes. It keeps no ledger; `opsgraph land` does.

    Example: `opsgraph bulk stream equipment-sensors`
    """
    from orchestration.ingest.bulk.plan import BulkError
    from orchestration.ingest.contracts import pinned_schemas

    environment, contract = Environment(), _contract(topic)
    checkpoint = environment.state_dir / "spark" / "checkpoints" / contract.table
    try:
        counts = _spark(environment).stream(
            contract, pinned_schemas(), environment.kafka_bootstrap_servers, checkpoint
        )
    except BulkError as error:
        _fail(str(error))
    typer.echo(f"streamed.{contract.table}: {counts[contract.table]:,} rows, {counts['refused']:,} refused")


def _contract(topic: str) -> "TopicContract":
    from orchestration.ingest.contracts import load_contracts

    contracts = load_contracts()
    if topic not in contracts:
        _fail(f"No contract for topic {topic}; known are {', '.join(contracts)}.")
    return contracts[topic]


def _spark(environment: Environment) -> "Spark":
    from orchestration.ingest.bulk.spark_process import Spark

    return Spark(PROJECT_ROOT / ".tools", environment.lake_url, environment.lake_catalog_uri)


def _fail(message: str) -> NoReturn:
    typer.secho(message, fg=typer.colors.RED, err=True)
    raise typer.Exit(1)
