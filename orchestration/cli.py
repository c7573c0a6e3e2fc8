"""The `opsgraph` command: mounts the verb groups of `orchestration.commands`.

Add a group by adding its module to `COMMAND_MODULES`. Avoid logic here.
A group module has `register(app)`, which adds its verbs or mounts its own sub-application.
"""

import importlib
import importlib.util

import typer

COMMAND_MODULES = (
    "orchestration.commands.stack",
    "orchestration.commands.contracts",
    "orchestration.commands.sources",
    "orchestration.commands.intake",
    "orchestration.commands.landing",
    "orchestration.commands.care",
    "orchestration.commands.recovery",
    "orchestration.commands.topics",
    "orchestration.commands.bulk",
    "orchestration.commands.warehouse",
    "orchestration.commands.models",
    "orchestration.commands.promotions",
    "orchestration.commands.knowledge",
    "orchestration.commands.logs",
    "orchestration.commands.copilot",
    "orchestration.commands.retrieval",
    "orchestration.commands.signals",
    "orchestration.commands.incidents",
    "orchestration.commands.alerts",
    "orchestration.commands.drift",
    "orchestration.commands.calendar",
    "orchestration.commands.demo",
)

app = typer.Typer(
    name="opsgraph",
    help="From Kafka offsets to predicted failures and answers with sources.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)


def _mount(parent: typer.Typer) -> None:
    for name in COMMAND_MODULES:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name).register(parent)


_mount(app)


def main() -> None:
    """Run the command line; a service that does not answer becomes one sentence, not a traceback."""
    try:
        app()
    except Exception as error:
        if not _is_connection_failure(error):
            raise
        reason = str(error).strip().splitlines()[0]
        typer.secho(
            f"A service does not answer: {reason}\n"
            "Nothing more was done. `opsgraph status` tells which one; `opsgraph up` starts the stack.",
            err=True,
            fg="red",
        )
        raise SystemExit(1) from None


def _is_connection_failure(error: BaseException) -> bool:
    """Whether a client library gave up on a connection; told by name, since importing them costs seconds."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    names = {f"{type(link).__module__.split('.')[0]}.{type(link).__name__}" for link in chain}
    return bool(
        names
        & {
            "psycopg.OperationalError",
            "psycopg2.OperationalError",
            "httpx.ConnectError",
            "builtins.ConnectionRefusedError",
        }
    )


if __name__ == "__main__":
    main()
