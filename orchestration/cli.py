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
    "orchestration.commands.landing",
    "orchestration.commands.warehouse",
    "orchestration.commands.models",
    "orchestration.commands.knowledge",
    "orchestration.commands.demo",
)

app = typer.Typer(
    name="opsgraph",
    help="From Kafka offsets to predicted failures and answers with sources.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


def _mount(parent: typer.Typer) -> None:
    for name in COMMAND_MODULES:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name).register(parent)


_mount(app)

if __name__ == "__main__":
    app()
