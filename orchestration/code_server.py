"""Dagster's code server whose runs begin at once: `python -m orchestration.code_server api grpc …`.

Dagster starts a new Python for each run, which imports everything before it does anything: most of the
time between a click and its result. Here runs are forked from a process that has the definitions loaded
(Python's fork server), so they also run the code that the web UI shows. Add here what every run needs
early. Avoid anything that opens a connection or starts a thread: the fork server must have none.
"""

import multiprocessing
from multiprocessing import forkserver
from typing import Any

from dagster._cli import cli
from dagster._grpc import server

LOADED_BEFORE_RUNS = ["orchestration.code_server", "orchestration.preloaded"]


class ForkingApiServer(server.DagsterApiServer):
    """The servicer, with another way to start the processes of runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Load the definitions as always, then the process that runs are forked from, beside it."""
        super().__init__(*args, **kwargs)
        forkserver.set_forkserver_preload(LOADED_BEFORE_RUNS)
        forkserver.ensure_running()
        self._mp_ctx = multiprocessing.get_context("forkserver")


if __name__ == "__main__":
    server.DagsterApiServer = ForkingApiServer
    cli()
