"""`opsgraph demo`: the whole graph on one plant's history, and a one-screen summary.

Add a step here when a newcomer should see it. Avoid doing the work here: each step calls what the
other verbs call. The summary's screen is `orchestration.commands.demo_summary`.
"""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import psycopg
import typer
from rich.console import Console

from orchestration.environment import Environment

FIRST_RUN_DAYS = 120
LATER_RUN_HOURS = 1
SEED = 7
TENANTS = {"simulator": "demo-plant", "azure-pdm": "azure-pdm"}

Result = TypeVar("Result")


@dataclass
class Steps:
    """Runs steps one after the other, shows that they run, and keeps what each took (seconds)."""

    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, title: str, action: Callable[[], Result]) -> Result:
        """Run one step and return its result; an error passes through after its line is printed."""
        started = time.perf_counter()
        self.console.rule(f"[bold]{title}", align="left", style="dim")
        try:
            result = action()
        except BaseException:
            self.console.print(f"[red]✗[/] {title} [dim]{time.perf_counter() - started:.1f} s[/]")
            raise
        self.seconds[title] = time.perf_counter() - started
        self.console.print(f"[green]✓[/] {title} [dim]{self.seconds[title]:.1f} s[/]")
        return result


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(demo)


def demo(
    source: Annotated[str, typer.Option(help="`simulator` or `azure-pdm`.")] = "simulator",
    data: Annotated[Path | None, typer.Option(help="Folder of the real data set's files.")] = None,
    keep: Annotated[bool, typer.Option(help="Stay up until Ctrl-C.")] = True,
) -> None:
    """Run the whole graph from Kafka to a cited answer.

    Example: `opsgraph demo --source azure-pdm --data ../shared/data/azure_pdm --no-keep`
    """
    if source not in TENANTS:
        raise typer.BadParameter(f"'{source}' is not a source: choose one of {', '.join(TENANTS)}.")
    environment = Environment()
    folder = data or environment.data_dir / "azure_pdm"
    if source == "azure-pdm" and not folder.is_dir():
        raise typer.BadParameter(f"--data must name the folder of the Azure PdM files; {folder} is none.")
    console = Console()
    held = _run_demo(environment, source, folder, keep, console)
    raise typer.Exit(0 if held else 1)


def _run_demo(environment: Environment, source: str, folder: Path, keep: bool, console: Console) -> bool:
    """Run every step; return whether each held. The stack is stopped at the end in any case."""
    from deployment.embedded.service import ServiceError
    from orchestration.commands import demo_summary, stack
    from orchestration.commands.dagster_runs import DagsterRunError

    steps = Steps(console)
    begun = time.perf_counter()
    try:
        steps.run("Start the stack", lambda: stack.bring_up(environment, console))
        steps.run("Send the plant's history through Kafka", lambda: _produce(environment, source, folder))
        steps.run("Materialize the graph in Dagster", lambda: _materialize(environment, console))
        held = steps.run(
            "Read back what was made",
            lambda: demo_summary.show(
                environment, TENANTS[source], lambda: time.perf_counter() - begun, steps.seconds, console
            ),
        )
        if keep:
            console.print("Everything stays up. [bold]Ctrl-C[/] stops it.")
            _wait_for_interrupt()
    except (ServiceError, DagsterRunError) as error:
        console.print(f"[red]error[/] {error}", highlight=False, soft_wrap=True)
        held = False
    finally:
        stack.bring_down(environment, console)
    return held


def _produce(environment: Environment, source: str, folder: Path) -> None:
    """Send the history: all of it the first time, one more hour of the simulated plant after that."""
    from orchestration.commands import facts, sources

    if source == "azure-pdm":
        sources.azure_pdm(folder, speed="max", until=None)
        return
    with psycopg.connect(environment.database_url) as connection:
        has_history = facts.has_produced(connection, f"simulator/{TENANTS[source]}/")
    if has_history:
        sources.simulate(days=None, hours=LATER_RUN_HOURS, seed=SEED, tenant=TENANTS[source])
    else:
        sources.simulate(days=FIRST_RUN_DAYS, hours=None, seed=SEED, tenant=TENANTS[source])


def _materialize(environment: Environment, console: Console) -> None:
    """Run the whole graph once, as the web UI would, and print each asset as it is made."""
    from orchestration.commands.dagster_runs import DagsterRuns

    runs = DagsterRuns(environment.dagster_url)
    run_id = runs.launch("refresh", tags={"opsgraph/started_by": "demo"})
    console.print(f"  {environment.dagster_url}/runs/{run_id}")
    failed_checks = 0
    checks = 0
    last = time.time()
    for event in runs.follow(run_id):
        if event.kind == "materialization":
            spent = max(event.at - last, 0)
            console.print(f"  [green]●[/] {event.key} [dim]{spent:.1f} s[/]", highlight=False)
            last = event.at
        elif event.kind == "check":
            checks += 1
            failed_checks += not event.passed
            if not event.passed:
                console.print(f"  [yellow]check[/] {event.key} {event.message} did not pass")
        else:
            console.print(f"  [red]failed[/] {event.key}: {event.message}", highlight=False)
    console.print(f"  {checks - failed_checks} of {checks} checks passed")


def _wait_for_interrupt() -> None:
    """Block until SIGINT or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
