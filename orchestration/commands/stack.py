"""The verbs of the stack: up, down, restart, status, logs.

Add what is done once a service is ready (migrations, topics) here, because deployment knows the
settings and nothing else of orchestration. Avoid how services are run: that is `deployment.embedded`.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from orchestration.commands import status as status_report
from orchestration.environment import Environment


def register(app: typer.Typer) -> None:
    """Add the verbs of the stack."""
    app.command("up")(up_command)
    app.command("down")(down_command)
    app.command("restart")(restart_command)
    app.command("status")(status_command)
    app.command("logs")(logs_command)


def bring_up(environment: Environment, console: Console) -> None:
    """Start the stack, migrate the database, create the topics; print each service as it gets ready.

    Raises:
        ServiceError: A check failed or a service did not become ready; the message says what to do.
    """
    from deployment.embedded import stack
    from deployment.embedded.catalogue import embedded_services

    begun = time.monotonic()
    hooks: dict[str, Callable[[], object]] = {
        "postgres": lambda: prepare_database(environment),
        "kafka": lambda: prepare_topics(environment),
    }
    if environment.database_url_setting:
        prepare_database(environment)
    if environment.kafka_bootstrap_servers_setting:
        prepare_topics(environment)

    def show(service: stack.StartedService) -> None:
        since = f"ready after {service.seconds:.1f} s" if service.seconds else "was running"
        console.print(f"  [green]●[/green] {service.name:<18} {since}", highlight=False)

    started = stack.up(
        environment, hooks, on_ready=show, say=lambda text: console.print(f"  [yellow]note[/yellow] {text}")
    )
    table = Table("service", "process", "ready after", box=None)
    table.add_column("address", overflow="fold")
    for service in started:
        table.add_row(service.name, str(service.pid), f"{service.seconds:.1f} s", service.url)
    console.print(table)
    console.print(f"All ready after {time.monotonic() - begun:.1f} s. Stop it with `opsgraph down`.")
    behind = [service.name for service in embedded_services(environment) if not service.is_waited_for]
    console.print(
        f"Starting in the background: {', '.join(behind)}. `opsgraph status` tells when they are ready."
    )


def bring_down(environment: Environment, console: Console) -> None:
    """Stop every process of the stack."""
    from deployment.embedded import stack

    begun = time.monotonic()
    ended = stack.down(environment, say=console.print)
    if ended:
        console.print(f"Stopped {ended} processes in {time.monotonic() - begun:.1f} s.")
    else:
        console.print("Nothing was running.")


def prepare_database(environment: Environment) -> None:
    """Create the databases that are missing and bring the schema to the chain's head."""
    from deployment.embedded import postgres
    from orchestration.migrations import upgrade

    if environment.database_url_setting:
        postgres.create_missing_databases(
            environment.database_url, [name for name in postgres.DATABASES if name != "opsgraph"]
        )
    else:
        postgres.create_databases(environment.postgres_port)
    upgrade(environment.database_url)


def prepare_topics(environment: Environment) -> None:
    """Create the topics of the contracts that the broker does not have."""
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.topics import ensure_topics

    ensure_topics(environment.kafka_bootstrap_servers, load_contracts())


def up_command() -> None:
    """Start the stack and wait until every service is ready.

    Example: `opsgraph up`
    """
    _run(lambda console: bring_up(Environment(), console))


def down_command(
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Also delete everything that the stack keeps.")
    ] = False,
) -> None:
    """Stop every process of the stack; data stay unless told otherwise.

    Example: `opsgraph down`
    """

    def work(console: Console) -> None:
        from deployment.embedded import stack

        environment = Environment()
        bring_down(environment, console)
        if delete_data:
            for folder in stack.delete_data(environment):
                console.print(f"Deleted {folder}.", highlight=False)

    _run(work)


def restart_command(
    service: Annotated[str, typer.Argument(help="Name of the service, for example dagster-code.")],
) -> None:
    """Stop one service and start it again, for example the code server after a change of code.

    Example: `opsgraph restart dagster-code`
    """

    def work(console: Console) -> None:
        from deployment.embedded import stack

        started = stack.restart(Environment(), service)
        console.print(f"{started.name} is ready after {started.seconds:.1f} s (process {started.pid}).")

    _run(work)


def status_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print every section as JSON.")] = False,
) -> None:
    """Tell each service's health and latency now, rows per layer, champions and index builds.

    The exit code is 1 unless every service is ready.

    Example: `opsgraph status --json`
    """
    report = status_report.assemble(Environment())
    if as_json:
        typer.echo(json.dumps(report, indent=2, default=str))
    else:
        _print_report(report, Console())
    services = report["services"]
    all_ready = isinstance(services, list) and all(service["health"] == "ready" for service in services)
    raise typer.Exit(0 if all_ready else 1)


def logs_command(
    service: Annotated[str, typer.Argument(help="Name of the service, or supervisord.")],
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 50,
) -> None:
    """Print the last lines of a service's log.

    Example: `opsgraph logs mlflow -n 100`
    """

    def work(console: Console) -> None:
        from deployment.embedded.child_environment import state_dir
        from deployment.embedded.service import ServiceError, tail
        from deployment.embedded.supervisor import log_file

        path = log_file(state_dir(Environment()), service)
        if not path.exists():
            present = ", ".join(sorted(log.stem for log in path.parent.glob("*.log"))) or "none yet"
            raise ServiceError(f"There is no log {path}. Logs of: {present}.")
        console.print(tail(path, lines), markup=False, highlight=False, soft_wrap=True)

    _run(work)


def _run(work: Callable[[Console], None]) -> None:
    """Run a verb; an expected failure becomes its message and exit code 1, without a traceback."""
    from deployment.embedded.service import ServiceError

    try:
        work(Console())
    except ServiceError as error:
        Console(stderr=True).print(f"[red]error[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)


def _print_report(report: dict[str, Any], console: Console) -> None:
    colours = {"ready": "green", "not ready": "yellow", "down": "red"}
    services = Table("service", "health", "latency", "process", "up for", box=None)
    services.add_column("address", overflow="fold")
    services.add_column("detail")
    for row in report["services"] if isinstance(report["services"], list) else []:
        services.add_row(
            row["name"],
            f"[{colours[row['health']]}]{row['health']}[/]",
            f"{row['latency_ms']:.0f} ms" if row["pid"] else "",
            str(row["pid"] or ""),
            f"{row['uptime_s']:.0f} s" if row["uptime_s"] is not None else "",
            row["url"],
            row["detail"],
        )
    console.print(services)
    for name, content in report.items():
        if name == "services" or not content:
            continue
        if isinstance(content, dict) and "error" in content:
            console.print(f"{name.replace('_', ' ')}: not known ({content['error'].splitlines()[0]})")
        else:
            console.print_json(json.dumps({name: content}, default=str))
