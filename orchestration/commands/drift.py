"""Verbs of drift: `drift check`, `drift verdicts`, `sensors grade`, `eval drift`.

Add a verb here when a person wants to ask what changed. Avoid logic: it belongs to `ml.drift`.
"""

import json
import math
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from orchestration.commands.knowledge import evaluations
from orchestration.environment import Environment

if TYPE_CHECKING:
    from ml.drift.monitor import MonitorReport

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="One tenant; all of them by default.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="Instant (ISO 8601, UTC) to judge at; the plant clock by default."),
]

console = Console()
drift = typer.Typer(help="What changed, and whether it matters.", no_args_is_help=True)
sensors = typer.Typer(help="Which sensors are fit to be read.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verbs to the `opsgraph` command."""
    app.add_typer(drift, name="drift")
    app.add_typer(sensors, name="sensors")
    evaluations.command("drift")(eval_drift)


@drift.command("check")
def check(tenant: Tenant = None, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Grade sensors, test features, judge machines and models, and act on the verdicts.

    Example: `opsgraph drift check --tenant demo-plant`
    """
    from ml.datasets.warehouse import WarehouseNotBuiltError
    from ml.drift.webhook import WebhookRequiredError
    from orchestration.drift_alerts import event_of, monitor_and_alert

    try:
        reports = monitor_and_alert(Environment().database_url, tenant, _instant(as_of))
    except (WarehouseNotBuiltError, WebhookRequiredError) as error:
        _fail(str(error))
    if as_json:
        print(json.dumps([_plain(report, event_of) for report in reports], indent=2))  # noqa: T201
        return
    for report in reports:
        _print_report(report)


@drift.command("verdicts")
def verdicts(tenant: Tenant = None, limit: int = 20, as_json: AsJson = False) -> None:
    """Show the newest verdicts with their reasons, what followed, and their grades.

    Example: `opsgraph drift verdicts --limit 5`
    """
    import psycopg

    from ml.drift.grading import summarise
    from ml.drift.ledger import verdicts as rows_of
    from orchestration.drift_alerts import event_of

    with psycopg.connect(Environment().database_url) as connection:
        rows = rows_of(connection, tenant, limit)
        grades = summarise(connection, tenant)
    if as_json:
        content = {"verdicts": [event_of(row) for row in rows], "triggers": vars(grades)}
        print(json.dumps(content, indent=2))  # noqa: T201
        return
    table = Table("decided (UTC)", "tenant", "subject", "sensor", "verdict", "why", "what follows", "grade")
    for row in rows:
        table.add_row(
            f"{row.decided_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            row.tenant_id,
            row.equipment_id or row.model_name or "",
            row.metric or "",
            row.verdict,
            str(row.evidence.get("reason", "")),
            row.action,
            row.graded_as or "open",
        )
    console.print(table if rows else "No verdict yet: nothing drifted, or `opsgraph drift check` never ran.")


@sensors.command("grade")
def grade(tenant: Tenant = None, as_of: AsOf = None, all_: bool = False, as_json: AsJson = False) -> None:
    """Grade every sensor of every machine, and say what the model does without the bad ones.

    Example: `opsgraph sensors grade --all`
    """
    from ml.datasets.warehouse import WarehouseNotBuiltError, tenants
    from ml.drift.tenant_readings import read_machines
    from ml.validation.grades import Grade, grade_sensors

    url = Environment().database_url
    rows: list[dict[str, Any]] = []
    try:
        for name in [tenant] if tenant else tenants(url):
            found = read_machines(url, name, _instant(as_of))
            if isinstance(found, str):
                console.print(f"[yellow]{name}[/]: {found}")
                continue
            for equipment_id, readings in sorted(found.machines.items()):
                rows += [
                    {
                        "tenant_id": name,
                        "equipment_id": equipment_id,
                        "metric": one.metric,
                        "as_of": one.as_of.isoformat(),
                        "grade": str(one.grade),
                        "usable": one.is_usable,
                        "problems": list(one.problems),
                        "without_it": one.without_it,
                    }
                    for one in grade_sensors(equipment_id, readings, found.window_to)
                ]
    except WarehouseNotBuiltError as error:
        _fail(str(error))
    if as_json:
        print(json.dumps(rows, indent=2))  # noqa: T201
        return
    shown = [row for row in rows if all_ or row["grade"] != Grade.GOOD]
    table = Table("tenant", "machine", "sensor", "grade", "why", "what the model does")
    for row in shown:
        words = "; ".join(str(problem["words"]) for problem in row["problems"])
        table.add_row(
            row["tenant_id"], row["equipment_id"], row["metric"], row["grade"], words, row["without_it"]
        )
    console.print(table if shown else f"All {len(rows)} sensors are good.")


def eval_drift(
    seed: Annotated[int | None, typer.Option(help="Draws the scenarios; a new one by default.")] = None,
    repeats: Annotated[int, typer.Option(help="Scenarios of each kind on each series.")] = 1,
    years: Annotated[int, typer.Option(help="Simulated years for the policies.")] = 6,
    as_json: AsJson = False,
) -> None:
    """Judge tests, verdicts and retraining policies on scenarios with a known truth.

    Example: `opsgraph eval drift --seed 11 --json`
    """
    from orchestration.commands.drift_evaluation import evaluate, tables

    chosen = seed if seed is not None else secrets.randbelow(1_000_000)
    found = evaluate(Environment().data_dir, chosen, repeats, years)
    if as_json:
        print(json.dumps(found, indent=2))  # noqa: T201
        return
    console.print(f"seed {chosen}: `opsgraph eval drift --seed {chosen}` draws the same scenarios again")
    for table in tables(found):
        console.print(table)


def _plain(report: "MonitorReport", event_of: Any) -> dict[str, Any]:
    return {
        "tenant_id": report.tenant_id,
        "as_of": report.as_of.isoformat() if report.as_of else None,
        "note": report.note,
        "sensors_not_usable": [
            {"equipment_id": one.equipment_id, "metric": one.metric, "grade": str(one.grade)}
            for one in report.grades
            if not one.is_usable
        ],
        "features": [
            {
                "segment": one.segment,
                "feature": one.feature,
                "is_drifted": one.is_drifted,
                "batch_z": one.batch_z,
                "sizes": dict(one.sizes),
                "thresholds": dict(one.thresholds),
                "score_effect": one.score_effect,
            }
            for one in report.features
        ],
        "segments": [
            {
                "segment": one.segment,
                "machines": one.machines,
                "together_size": one.together.size,
                "together_is_drifted": one.together.is_drifted,
                "violations": list(one.violations),
            }
            for one in report.segments
        ],
        "performance": [
            {"model_name": one.model_name, "promised": vars(one.promised), "happened": vars(one.happened)}
            for one in report.performance
        ],
        "verdicts": [
            {
                "equipment_id": subject.equipment_id,
                "model_name": subject.model_name,
                "verdict": str(one.verdict),
                "reason": one.reason,
            }
            for subject, one in report.judged
        ],
        "recorded": [event_of(row) for row in report.recorded],
        "released": report.released,
    }


def _print_report(report: "MonitorReport") -> None:
    if report.note:
        console.print(f"[yellow]{report.tenant_id}[/]: {report.note}")
        return
    drifted = [one for one in report.features if one.is_drifted]
    names = ", ".join(f"{one.segment} {one.feature}" for one in drifted) or "none"
    console.print(
        f"[bold]{report.tenant_id}[/] at {report.as_of:%Y-%m-%d %H:%M}: {len(report.grades)} sensors graded, "
        f"{sum(not one.is_usable for one in report.grades)} not usable; "
        f"{len(drifted)} of {len(report.features)} features drifted ({names}); "
        f"{len(report.recorded)} new verdicts, {report.released} sensors released from quarantine"
    )
    table = Table("subject", "verdict", "why", "what follows")
    told = [(subject, one) for subject, one in report.judged if one.verdict != "NO_DRIFT"]
    for subject, one in told:
        table.add_row(
            subject.equipment_id or subject.model_name or "", str(one.verdict), one.reason, one.action
        )
    if told:
        console.print(table)
    for one in report.segments:
        if one.together.is_drifted:
            console.print(f"{one.segment}: its metrics no longer fit together as they did")
        for words in one.violations:
            console.print(f"{one.segment}: {words}")
    for one in report.performance:
        console.print(
            f"{one.model_name}: precision promised {_share(one.promised.precision)}, recall "
            f"{_share(one.promised.recall)}; of {one.happened.rows} predictions with known outcome "
            f"precision {_share(one.happened.precision)}, recall {_share(one.happened.recall)}"
        )


def _share(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.2f}"


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        _fail(f"--as-of {text!r} is not an instant: write it like 2015-03-20T05:00")
    return found.replace(tzinfo=found.tzinfo or UTC)


def _fail(message: str) -> NoReturn:
    Console(stderr=True).print(f"[red]error[/] {message}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)
