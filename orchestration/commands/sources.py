"""The verbs that fill the topics: `simulate` and `replay`.

Add a verb here when there is another source. Avoid how a source makes or sends messages: that is in
`orchestration.ingest.simulators` and `orchestration.ingest.replay`.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from orchestration.environment import Environment

if TYPE_CHECKING:
    from orchestration.ingest.sources import OnProgress, SourceProgress, SourceReport

console = Console()
replay_app = typer.Typer(
    help="Replay a real data set into the plant's topics.", no_args_is_help=True, rich_markup_mode="markdown"
)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command()(simulate)
    app.add_typer(replay_app, name="replay")


def simulate(
    days: Annotated[
        float | None, typer.Option(help="Produce the plant's first N days, as far as they are missing.")
    ] = None,
    hours: Annotated[float | None, typer.Option(help="Produce N hours more, from where it stopped.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the plant; each seed is a plant of its own.")] = 7,
    tenant: Annotated[str, typer.Option(help="Tenant of the messages.")] = "demo-plant",
) -> None:
    """Simulate a plant of 20 machines and send its messages to Kafka.

    Example: `opsgraph simulate --days 120`, later `opsgraph simulate --hours 1`.
    """
    from orchestration.ingest.simulators.production import simulate as produce

    if (days is None) == (hours is None) or (days or hours or 0.0) <= 0.0:
        raise typer.BadParameter("Give either --days or --hours, and more than 0 of them.")
    environment = Environment()
    with _progress("Simulating the plant") as on_progress, _plain_errors():
        report = produce(
            database_url=environment.database_url,
            bootstrap_servers=environment.kafka_bootstrap_servers,
            state_dir=environment.state_dir,
            days=days,
            hours=hours,
            seed=seed,
            tenant_id=tenant,
            schema_registry_url=environment.schema_registry_url,
            on_progress=on_progress,
        )
    console.print(report_table(report))


@replay_app.callback()
def _replay() -> None:
    """Keep `azure-pdm` a verb of its own while it is the only one."""


@replay_app.command("azure-pdm")
def azure_pdm(
    path: Annotated[Path, typer.Argument(help="Folder with the PdM_*.csv or PdM_*.csv.gz files.")],
    speed: Annotated[str, typer.Option(help="`max`, or a factor of real time such as 3600.")] = "max",
    until: Annotated[
        str | None, typer.Option(help="Stop before this instant of the set, ISO 8601; UTC if it has no zone.")
    ] = None,
) -> None:
    """Replay machines 1 to 20 of the Azure predictive-maintenance set; continues where it stopped.

    Example: `opsgraph replay azure-pdm ../shared/data/azure_pdm --speed max`
    """
    from orchestration.ingest.replay.azure_pdm import replay_azure_pdm

    environment = Environment()
    with _progress("Replaying Azure PdM") as on_progress, _plain_errors():
        report = replay_azure_pdm(
            path,
            database_url=environment.database_url,
            bootstrap_servers=environment.kafka_bootstrap_servers,
            speed=parse_speed(speed),
            until=parse_instant(until) if until else None,
            schema_registry_url=environment.schema_registry_url,
            on_progress=on_progress,
        )
    console.print(report_table(report))


def parse_speed(text: str) -> float | None:
    """Factor of real time, None for `max`.

    Raises:
        typer.BadParameter: Neither `max` nor a positive number.
    """
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < math.inf:
        raise typer.BadParameter(f"{text!r}: give `max` or a factor of real time such as 3600.")
    return speed


def parse_instant(text: str) -> datetime:
    """Instant from ISO 8601 text; UTC where the text names no zone.

    Raises:
        typer.BadParameter: The text is not an instant.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: write the instant like 2015-02-01T00:00:00Z.") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def report_table(report: "SourceReport") -> Table:
    """A source's run as a table: messages by topic, and the plant time that they cover."""
    reached = f"{report.produced_through_at:%Y-%m-%d %H:%M} UTC"
    span = (
        f"{report.produced_from_at:%Y-%m-%d %H:%M} to {reached}"
        if report.total
        else f"no news before {reached}"
    )
    table = Table(title=report.source, caption=f"plant time: {span}", min_width=60)
    table.add_column("topic")
    table.add_column("messages", justify="right")
    for topic, count in report.messages.items():
        table.add_row(topic, f"{count:,}")
    table.add_row("total", f"{report.total:,}", style="bold")
    return table


@contextmanager
def _progress(title: str) -> "Iterator[OnProgress]":
    """A progress bar over the run's plant time; gives the callback that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0, note="")

        def moved(progress: "SourceProgress") -> None:
            note = f"{progress.messages:,} messages, plant time {progress.reached_at:%Y-%m-%d %H:%M}"
            bar.update(task, completed=progress.share, note=note)

        yield moved


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn what a person can mend into a message and exit code 1."""
    import psycopg

    from orchestration.ingest.contracts import ContractError
    from orchestration.ingest.producer import DeliveryError
    from orchestration.ingest.replay.azure_pdm_files import ReplayFileError
    from orchestration.ingest.sources import SourceError
    from orchestration.ingest.topics import TopicError

    try:
        yield
    except psycopg.OperationalError as error:
        console.print(
            f"[red]No answer from Postgres[/red]: {escape(str(error).strip())}\nStart the stack with "
            "`opsgraph up`, or set DATABASE_URL."
        )
        raise typer.Exit(1) from None
    except (ContractError, DeliveryError, ReplayFileError, SourceError, TopicError) as error:
        console.print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(1) from None
