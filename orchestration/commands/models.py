"""Verbs of the models: `models`, `models export`, `train`, `predict`, `eval azure-pdm`.

Add a verb here when a person wants to do to models what Dagster does by itself. Avoid logic: it belongs
to `ml`.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from orchestration.commands.knowledge import evaluations
from orchestration.environment import Environment

if TYPE_CHECKING:
    from ml.predictions.run import PredictionOutcome
    from ml.training.azure_pdm import Judgement
    from ml.training.pipeline import TrainingOutcome

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="One tenant; all of them by default.")]
AsOf = Annotated[
    str | None, typer.Option("--as-of", help="Instant (ISO 8601, UTC) to go by; everything known by default.")
]

SHOWN = ("event_recall", "event_precision", "average_precision", "brier_skill", "ece")
console = Console()


def register(app: typer.Typer) -> None:
    """Add the verbs to the `opsgraph` command."""
    shown = typer.Typer(invoke_without_command=True, help="What serves; `models export` writes its files.")
    shown.callback()(models)
    shown.command("export")(export)
    app.add_typer(shown, name="models")
    app.command("train")(train)
    app.command("predict")(predict)
    evaluations.command("azure-pdm")(eval_azure_pdm)


def models(context: typer.Context, as_json: AsJson = False) -> None:
    """Show which model version serves whom, since when, and the figures that it was promoted on.

    Example: `opsgraph models --json`
    """
    if context.invoked_subcommand is not None:
        return
    import psycopg

    from ml.registry.promotions import serving

    with psycopg.connect(Environment().database_url) as connection:
        found = serving(connection)
    if as_json:
        rows = [{**vars(row), "served_from": row.served_from.isoformat()} for row in found]
        print(json.dumps(rows, indent=2))  # noqa: T201
        return
    table = Table("model", "tenant", "version", "since (UTC)", *SHOWN, "reason")
    for row in found:
        figures = [_number(row.metrics.get(name)) for name in SHOWN]
        since = row.served_from.astimezone(UTC)
        table.add_row(
            row.model_name, row.tenant_id, row.model_version, f"{since:%Y-%m-%d %H:%M}", *figures, row.reason
        )
    console.print(table if found else "Nothing serves yet: train with `opsgraph train`.")


def export(
    model: Annotated[str, typer.Argument(help="Registered model, for example `failure-24h`.")],
    folder: Annotated[Path, typer.Argument(help="Where `model.json` and its two files are written.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose champion.")],
) -> None:
    """Write a champion as the plain folder that the stand-alone inference service reads.

    Example: `opsgraph models export failure-24h build/models --tenant demo-plant`
    """
    from ml.registry.client import ModelRegistry, NoChampionError
    from ml.training.artefacts import write_artefacts

    registry = ModelRegistry(Environment().mlflow_tracking_uri)
    try:
        served = registry.load_champion(model, tenant)
    except NoChampionError as error:
        _fail(str(error))
    written = write_artefacts(served.model, registry.usual(served.version), folder)
    console.print(
        f"{model} version {served.version.version} of {tenant} is in {folder}. Serve it with\n"
        f"  MODEL_PATH={written.model} BASELINE_PATH={written.baseline} "
        f"EXPECTATIONS_PATH={written.expectations} uvicorn --factory ml.serving.app:create_app",
        soft_wrap=True,
        highlight=False,
    )


def train(
    tenant: Tenant = None,
    as_of: AsOf = None,
    missed_failure: Annotated[
        float | None, typer.Option(help="Price of a failure without an alert; with it, alerts go by cost.")
    ] = None,
    visit: Annotated[float, typer.Option(help="Price of one visit, in the same unit.")] = 1.0,
    crew_hours: Annotated[
        float | None,
        typer.Option(help="Hours per week that the crew has for visits; without limit by default."),
    ] = None,
    search_trials: Annotated[
        int, typer.Option(min=0, help="Parameter sets tried first; the best one must win on a later period.")
    ] = 0,
) -> None:
    """Train every horizon, register challengers, and promote those that pass the gate and win.

    Example: `opsgraph train --tenant azure-pdm --missed-failure 10 --crew-hours 40`
    """
    import psycopg

    from ml.datasets.warehouse import WarehouseNotBuiltError, tenants
    from ml.evaluation.costs import OperatingCosts
    from ml.models.horizons import HORIZONS
    from ml.registry.client import ModelRegistry
    from ml.registry.decide import decide_pending
    from ml.registry.rules import PromotionRule
    from ml.training.fitting import FailureParameters
    from ml.training.pipeline import train_tenant

    environment = Environment()
    registry = ModelRegistry(environment.mlflow_tracking_uri)
    costs = None if missed_failure is None else OperatingCosts(missed_failure, visit, crew_hours)
    parameters, instant = FailureParameters(costs=costs), _instant(as_of)
    try:
        chosen = [tenant] if tenant else tenants(environment.database_url)
        for name in chosen:
            for horizon in HORIZONS:
                outcome = train_tenant(
                    environment.database_url,
                    registry,
                    name,
                    horizon,
                    instant,
                    parameters,
                    search_trials=search_trials,
                )
                _print_training(outcome)
    except WarehouseNotBuiltError as error:
        _fail(str(error))
    rule = PromotionRule(mode=environment.promotion_mode)
    with psycopg.connect(environment.database_url) as connection:
        for decision in decide_pending(connection, registry, chosen, HORIZONS, rule):
            console.print(
                f"{decision.model_name} {decision.model_version} ({decision.tenant_id}): "
                f"[bold]{decision.decision}[/], {decision.reason}"
            )


def predict(tenant: Tenant = None, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Predict every machine with what serves, and store the predictions.

    Example: `opsgraph predict --tenant azure-pdm --as-of 2015-03-20T05:00`
    """
    from ml.datasets.warehouse import WarehouseNotBuiltError, tenants
    from ml.models.horizons import HORIZONS
    from ml.predictions.run import predict_tenant
    from ml.registry.client import ModelRegistry

    environment = Environment()
    registry = ModelRegistry(environment.mlflow_tracking_uri)
    try:
        chosen = [tenant] if tenant else tenants(environment.database_url)
        outcomes = [
            predict_tenant(
                environment.database_url,
                registry,
                name,
                horizon,
                _instant(as_of),
                data_delay=environment.data_delay,
            )
            for name in chosen
            for horizon in HORIZONS
        ]
    except WarehouseNotBuiltError as error:
        _fail(str(error))
    if as_json:
        rows = [
            {
                "tenant_id": outcome.tenant_id,
                "model_version": outcome.model_version,
                **vars(row),
                "as_of": row.as_of.isoformat(),
                "hour_at": row.hour_at.isoformat(),
            }
            for outcome in outcomes
            for row in outcome.predictions
        ]
        print(json.dumps(rows, indent=2))  # noqa: T201
        return
    for outcome in outcomes:
        _print_predictions(outcome)


def eval_azure_pdm(
    path: Annotated[Path, typer.Argument(help="Folder with PdM_*.csv or PdM_*.csv.gz files.")],
    as_json: AsJson = False,
) -> None:
    """Judge the failure model on the files alone, without any row of a tested machine in its training.

    Example: `opsgraph eval azure-pdm ../shared/data/azure_pdm --json`
    """
    from ml.datasets.azure_pdm import AzurePdmFormatError
    from ml.models.horizons import HORIZONS
    from ml.training.azure_pdm import by_horizon, judge_azure_pdm

    try:
        judged = judge_azure_pdm(path, tuple(horizon.length for horizon in HORIZONS))
    except AzurePdmFormatError as error:
        _fail(str(error))
    if as_json:
        print(json.dumps(by_horizon(judged), indent=2))  # noqa: T201
        return
    console.print(_judgement_table(judged))


def _judgement_table(judged: "list[Judgement]") -> Table:
    columns = ("event recall", "event precision", "false alarms", "AP", "base rate", "ECE", "Brier skill")
    table = Table("protocol", "target", "errors", *columns, "error rule's recall, precision")
    for found in judged:
        report = found.report
        rule = report.baselines["error_24h"]
        table.add_row(
            found.protocol,
            found.target,
            "seen" if found.has_error_codes else "withheld",
            str(report.model.recall),
            str(report.model.precision),
            f"{report.model.events.false_alarms_per_machine_month:.2f}",
            str(report.average_precision),
            f"{report.base_rate:.4f}",
            f"{report.ece:.4f}",
            str(report.brier_skill),
            f"{rule.recall.value:.3f}, {rule.precision.value:.3f}",
        )
    return table


def _print_training(outcome: "TrainingOutcome") -> None:
    name = f"{outcome.model_name} ({outcome.tenant_id})"
    if outcome.version is None:
        console.print(f"[yellow]skipped[/] {name}: {outcome.note}")
        return
    figures = ", ".join(f"{key} {_number(outcome.metrics.get(key))}" for key in SHOWN)
    state = "trained" if outcome.is_new else "unchanged"
    console.print(f"[green]{state}[/] {name} version {outcome.version.version}: {figures}  {outcome.run_url}")


def _print_predictions(outcome: "PredictionOutcome") -> None:
    if outcome.note:
        console.print(f"[yellow]{outcome.tenant_id} {outcome.horizon_hours} h[/]: {outcome.note}")
        return
    table = Table(
        "machine",
        "probability",
        "risk",
        "why",
        "what to do",
        title=f"{outcome.tenant_id}, {outcome.horizon_hours} h from {outcome.as_of:%Y-%m-%d %H:%M}, "
        f"version {outcome.model_version}",
        title_justify="left",
    )
    for row in sorted(outcome.predictions, key=lambda found: -found.failure_probability):
        table.add_row(
            row.equipment_id,
            f"{row.failure_probability:.1%}",
            row.risk_level.value,
            "; ".join(row.contributing_factors),
            row.recommended_action,
        )
    console.print(table)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        _fail(f"--as-of {text!r} is not an instant: write it like 2015-03-20T05:00")
    return found.replace(tzinfo=found.tzinfo or UTC)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _fail(message: str) -> NoReturn:
    Console(stderr=True).print(f"[red]error[/] {message}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)
