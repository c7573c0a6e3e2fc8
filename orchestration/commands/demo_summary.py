"""The demo's one screen, and the same figures as `build/demo.json`.

Add a figure here when the demo should promise it. Avoid measuring: figures are read from where the
graph wrote them.
"""

from collections.abc import Callable, Sequence

import psycopg
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml.registry.promotions import Serving, serving
from orchestration.commands import facts, landing
from orchestration.environment import Environment
from orchestration.figures import BUILD_DIR, Figure, write_figures

COMMAND = "make demo KEEP=0"
RULES = ("", "error_24h_", "all_positive_", "all_negative_")
SHOWN_METRICS = {
    "event_recall": "failures foreseen (event recall)",
    "event_precision": "alerts that were right (event precision)",
    "false_alarms_per_machine_month": "false alarms per machine-month",
    "average_precision": "average precision",
    "ece": "calibration error (ECE)",
}


def show(
    environment: Environment,
    tenant_id: str,
    elapsed: Callable[[], float],
    step_seconds: dict[str, float],
    console: Console,
) -> bool:
    """Print the summary of one tenant, write `build/demo.json`, and return whether all of it holds.

    Args:
        environment: The stack to read.
        tenant_id: Whose machines, model and answers to show.
        elapsed: Seconds since the demo began.
        step_seconds: What each step took.
        console: Where the screen goes.
    """
    with psycopg.connect(environment.database_url) as connection:
        rows = facts.rows_per_layer(connection)
        health_rows = facts.health_rows(connection, tenant_id)
        champions = [row for row in serving(connection) if row.tenant_id == tenant_id]
        risks = facts.machines_at_risk(connection, tenant_id)
        answers = facts.latest_answers(connection, tenant_id)
    balance = landing.ledger_report(environment)
    _print_rows(console, rows)
    console.print(landing.ledger_table(balance))
    _print_models(console, champions)
    _print_risks(console, risks)
    _print_answers(console, answers)
    _print_addresses(console, environment)
    figures = _figures(rows, health_rows, balance.is_balanced, champions, answers, elapsed())
    write_figures(BUILD_DIR / "demo.json", figures)
    parts = ", ".join(f"{title[0].lower()}{title[1:]} {spent:.0f} s" for title, spent in step_seconds.items())
    console.print(f"Took {elapsed():.0f} s: {parts}. Figures: {BUILD_DIR / 'demo.json'}")
    return all(figure.holds is not False for figure in figures)


def _print_rows(console: Console, rows: dict[str, dict[str, int]]) -> None:
    table = Table("layer", "table", "rows", title="Rows per layer", title_justify="left")
    table.columns[2].justify = "right"
    for layer, counts in rows.items():
        for name, count in counts.items():
            if count:
                table.add_row(layer, name, f"{count:,}")
    console.print(table)


def _print_models(console: Console, champions: Sequence[Serving]) -> None:
    table = Table("model", "measure", "model's", "an error in the last 24 h", "always alarm", "none")
    table.title, table.title_justify = "Models that serve, beside the naive rules", "left"
    for champion in champions:
        for measure, label in SHOWN_METRICS.items():
            columns = [champion.metrics.get(f"{rule}{measure}") for rule in RULES]
            name = f"{champion.model_name} v{champion.model_version}"
            table.add_row(name, label, *(_metric(value) for value in columns))
    console.print(table)


def _print_risks(console: Console, risks: Sequence[facts.MachineAtRisk]) -> None:
    table = Table(
        "machine", "24 h", "risk", "why", "what to do", title="Machines most at risk", title_justify="left"
    )
    for risk in risks:
        reasons = "\n".join(risk.contributing_factors[:3])
        table.add_row(
            risk.equipment_id,
            f"{risk.failure_probability:.1%}",
            risk.risk_level,
            reasons,
            risk.recommended_action,
        )
    if risks:
        table.caption = f"as of {risks[0].as_of:%Y-%m-%d %H:%M} UTC, model version {risks[0].model_version}"
    console.print(table)


def _print_answers(console: Console, answers: Sequence[facts.StoredAnswer]) -> None:
    for answer in answers:
        console.print(f"\n[bold]Q[/] {escape(answer.question)}")
        console.print(f"[bold]A[/] {escape(answer.answer)}", highlight=False)
        for step in answer.next_steps:
            console.print(f"   → {step}", highlight=False, markup=False)
        for citation in answer.citations:
            console.print(f"   [dim]{escape(facts.citation_line(citation))}[/]", highlight=False)


def _print_addresses(console: Console, environment: Environment) -> None:
    console.print(
        f"Dagster {environment.dagster_url}   MLflow {environment.mlflow_tracking_uri}   "
        f"API {environment.api_url}/docs   dbt docs: opsgraph docs"
    )


def _metric(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"


def _model_figures(metrics: dict[str, float]) -> list[Figure]:
    """The 24 h model's event recall and precision beside the rule; a tenant without a model has none."""
    return [
        Figure(
            f"failure_{measure}_24h",
            metrics[measure],
            "share",
            "higher",
            peer="an error in the last 24 h",
            peer_value=metrics.get(f"error_24h_{measure}"),
            command=COMMAND,
        )
        for measure in ("event_recall", "event_precision")
        if measure in metrics
    ]


def _figures(
    rows: dict[str, dict[str, int]],
    health_rows: int,
    is_balanced: bool,
    champions: Sequence[Serving],
    answers: Sequence[facts.StoredAnswer],
    seconds: float,
) -> list[Figure]:
    model = next((c.metrics for c in champions if c.model_name == "failure-24h"), {})
    cited = sum(bool(answer.citations) for answer in answers)
    sensor_rows = rows.get("raw", {}).get("equipment_sensors", 0)
    return [
        Figure("raw_sensor_rows", sensor_rows, "rows", "higher", bar=1, command=COMMAND),
        Figure("ledger_balanced", int(is_balanced), "1 = balanced", "equal", bar=1, command=COMMAND),
        Figure("mart_equipment_health_rows", health_rows, "rows", "higher", bar=1, command=COMMAND),
        *_model_figures(model),
        Figure(
            "answers_with_citations_ratio",
            cited / len(answers) if answers else 0.0,
            "share",
            "higher",
            bar=1.0,
            command=COMMAND,
        ),
        Figure("demo_seconds", round(seconds, 1), "s", "lower", command=COMMAND),
    ]
