"""What `opsgraph status` tells, section by section: services first, then what the database knows.

Add a section as a function from the settings to plain JSON values, and list it in `SECTIONS`. Avoid
queries: those are in `orchestration.commands.facts`. A section whose source does not answer reports
the reason, so that the others still show.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from orchestration.environment import Environment

Section = Callable[[Environment], Any]


def services(environment: Environment) -> list[dict[str, Any]]:
    """Health, latency, process and address of each service."""
    from deployment.embedded import stack

    return [dataclasses.asdict(service) for service in stack.health(environment)]


def rows_per_layer(environment: Environment) -> dict[str, dict[str, int]]:
    """Row counts by schema and table."""
    return _ask(environment, "rows_per_layer")


def champions(environment: Environment) -> list[dict[str, Any]]:
    """The model versions that serve."""
    import psycopg

    from ml.registry.promotions import serving

    with psycopg.connect(environment.database_url, connect_timeout=3) as connection:
        return [dataclasses.asdict(row) for row in serving(connection)]


def index_builds(environment: Environment) -> list[dict[str, Any]]:
    """The index build that each alias names."""
    return _ask(environment, "index_builds")


def ledger(environment: Environment) -> dict[str, Any]:
    """Whether the ledger balances, and per partition what was landed and what waits."""
    from orchestration.commands import landing

    report = landing.ledger_report(environment)
    return {"is_balanced": report.is_balanced, "faults": [str(fault) for fault in report.faults]}


def landers(environment: Environment) -> list[dict[str, Any]]:
    """What each landing service says of its sinks; asked also while Postgres is away."""
    from orchestration.commands import topics

    return [
        {
            "lander": item.lander,
            "age_s": round(item.age_s, 1),
            "open_sinks": item.open_sinks,
            "refused_topics": {topic: state["reason"] for topic, state in item.refused.items()},
        }
        for item in topics.states(environment)
    ]


SECTIONS: Mapping[str, Section] = {
    "services": services,
    "rows_per_layer": rows_per_layer,
    "landers": landers,
    "ledger": ledger,
    "champions": champions,
    "index_builds": index_builds,
}


def assemble(environment: Environment, sections: Mapping[str, Section] = SECTIONS) -> dict[str, Any]:
    """Every section's answer by its name; `{"error": reason}` for one that could not be asked."""
    report: dict[str, Any] = {}
    for name, section in sections.items():
        try:
            report[name] = section(environment)
        except Exception as error:  # one broken source must not hide the others
            report[name] = {"error": f"{type(error).__name__}: {error}".strip()}
    return report


def _ask(environment: Environment, question: str) -> Any:
    import psycopg

    from orchestration.commands import facts

    with psycopg.connect(environment.database_url, connect_timeout=3) as connection:
        return getattr(facts, question)(connection)
