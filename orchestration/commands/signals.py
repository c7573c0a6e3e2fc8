"""Verbs that judge anomalies, forecasts, quality and remaining life on public sets.

Add a verb here when such a model gets another public set. Avoid logic: it belongs to `ml`.
"""

import json
from collections.abc import Callable, Mapping
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from orchestration.commands.knowledge import evaluations

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
SetPath = Annotated[Path, typer.Argument(help="Folder or file of this form; .gz or plain.", exists=True)]


def register(app: typer.Typer) -> None:
    """Add the verbs to `opsgraph eval`."""
    evaluations.command("skab")(eval_skab)
    evaluations.command("nab")(eval_nab)
    evaluations.command("cmapss")(eval_cmapss)
    evaluations.command("ett")(eval_ett)
    evaluations.command("steel-plates")(eval_steel_plates)
    evaluations.command("azure-pdm-unlabelled")(eval_azure_pdm_unlabelled)


def eval_skab(path: SetPath, as_json: AsJson = False) -> None:
    """Judge the residual detector on experiments of a test bed: F1, false and missed alarm rates.

    Example: `opsgraph eval skab ../shared/data/skab/valve1 --json`
    """

    def judge() -> dict[str, Any]:
        from ml.anomaly.skab import judge_skab

        return judge_skab(path).to_json()

    _show(judge, as_json)


def eval_nab(path: SetPath, as_json: AsJson = False) -> None:
    """Judge the stream detector with the scoring of the Numenta Anomaly Benchmark, standard profile.

    Example: `opsgraph eval nab ../shared/data/nab --json`
    """

    def judge() -> dict[str, Any]:
        from ml.anomaly.nab import judge_nab

        return judge_nab(path).to_json()

    _show(judge, as_json)


def eval_cmapss(path: SetPath, as_json: AsJson = False) -> None:
    """Judge remaining useful life on turbofan sets: RMSE with the usual cap, and without.

    Example: `opsgraph eval cmapss ../shared/data/cmapss --json`
    """

    def judge() -> dict[str, Any]:
        from ml.remaining_life.cmapss import judge_cmapss, to_json

        return to_json(judge_cmapss(path))

    _show(judge, as_json)


def eval_ett(
    path: SetPath,
    as_json: AsJson = False,
    horizon: Annotated[int, typer.Option(help="Steps ahead.", min=1)] = 24,
    prophet_origins: Annotated[
        int, typer.Option(help="Origins of the choosing months at which Prophet is tried too.", min=0)
    ] = 4,
) -> None:
    """Judge the chosen forecast on transformer temperatures, every window of the public split.

    Example: `opsgraph eval ett ../shared/data/ett --json`
    """

    def judge() -> dict[str, Any]:
        from ml.forecast.ett import judge_ett, to_json

        return to_json(judge_ett(path, horizon, prophet_origins))

    _show(judge, as_json)


def eval_steel_plates(path: SetPath, as_json: AsJson = False) -> None:
    """Judge the quality classifier on faults of steel plates, 5 × 5 stratified folds.

    Example: `opsgraph eval steel-plates ../shared/data/steel_plates --json`
    """

    def judge() -> dict[str, Any]:
        from ml.quality.steel_plates import judge_steel_plates

        return judge_steel_plates(path).to_json()

    _show(judge, as_json)


def eval_azure_pdm_unlabelled(path: SetPath, as_json: AsJson = False) -> None:
    """Judge alerts that never saw a failure: failures seen in the 48 h before, alerts per machine-month.

    Example: `opsgraph eval azure-pdm-unlabelled ../shared/data/azure_pdm --json`
    """

    def judge() -> dict[str, Any]:
        from ml.anomaly.azure_unlabelled import judge_unlabelled

        return judge_unlabelled(path).to_json()

    _show(judge, as_json)


def _show(judge: Callable[[], Mapping[str, Any]], as_json: bool) -> None:
    """Print the scores; files of another form become one sentence."""
    from ml.datasets.azure_pdm import AzurePdmFormatError
    from ml.datasets.tables import TableFormatError

    try:
        found = judge()
    except (TableFormatError, AzurePdmFormatError) as error:
        Console(stderr=True).print(f"[red]error[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    if as_json:
        print(json.dumps(_without_nan(found), indent=2))  # noqa: T201
        return
    console = Console()
    flat = {name: value for name, value in found.items() if not isinstance(value, Mapping | list | tuple)}
    table = Table("figure", "value")
    for name, value in flat.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    console.print(table)
    for name, value in found.items():
        if name not in flat and value:
            console.print(_nested(name, value))


def _nested(name: str, value: Any) -> Table | str:
    if isinstance(value, Mapping):
        rows = [{"name": key, **_row(row)} for key, row in value.items()]
    elif value and isinstance(value[0], Mapping):
        rows = [dict(row) for row in value]
    else:
        return f"{name}: {', '.join(str(each) for each in value)}"
    table = Table(*rows[0], title=name, title_justify="left")
    for row in rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row.values()))
    return table


def _row(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {key: cell for key, cell in value.items() if not isinstance(cell, Mapping | list)}
    return {"value": value}


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and isnan(value) else value
