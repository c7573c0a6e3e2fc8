"""The services that watch: log windows and incidents, as processes of the stack.

They start when everything else is ready, at low priority, and nobody waits for them: nothing that a person
does first needs them. Add a service of this kind here. Avoid what they do: that is `orchestration.ingest`.
"""

import sys
from pathlib import Path

from deployment.embedded import probes
from deployment.embedded.service import Service
from orchestration.environment import PROJECT_ROOT

NICENESS = 10


def services(database_url: str) -> tuple[Service, ...]:
    """The watching services.

    Args:
        database_url: `postgresql://…` of the database in which they show signs of life.
    """
    return (
        _watcher("log-windows", ("lines", "windows", "--follow"), database_url),
        _watcher("incidents", ("incidents", "--follow"), database_url),
    )


def _watcher(name: str, verb: tuple[str, ...], database_url: str) -> Service:
    return Service(
        name=name,
        command=(sys.executable, str(Path(sys.executable).parent / "opsgraph"), *verb),
        is_ready=lambda started_at: probes.has_beaten(database_url, f"service:{name}", started_at),
        directory=PROJECT_ROOT,
        start_order=3,
        stop_order=0,
        niceness=NICENESS,
        is_waited_for=False,
    )
