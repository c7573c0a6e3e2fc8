"""The code location as Dagster sees it: light, thin, connected, described."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.environment import PROJECT_ROOT

DEFS = PROJECT_ROOT / "orchestration" / "defs"
HEAVY = (
    "mlflow",
    "xgboost",
    "prophet",
    "great_expectations",
    "langchain",
    "qdrant_edge",
    "pyiceberg",
    "sklearn",
    "polars",
    "dbt.contracts",
    "networkx",
)
MAX_BODY_LINES = 15


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    """The definitions of the whole code location."""
    from orchestration.definitions import defs

    return defs()


@pytest.fixture(scope="module")
def graph(definitions: dg.Definitions) -> Any:
    """The asset graph of the code location."""
    return definitions.resolve_asset_graph()


def test_code_location_imports_no_heavy_library() -> None:
    """Forbids a module-level import that makes every run start seconds later."""
    script = (
        "import sys; from orchestration.definitions import defs; defs();"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip().splitlines()[-1] == "[]"


def _decorated_functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    for path in sorted(DEFS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any(
                "dg." in ast.unparse(d) or "dbt_assets" in ast.unparse(d) for d in node.decorator_list
            ):
                yield path, node


def test_assets_are_a_skin() -> None:
    """Forbids domain logic in Dagster's decorators: a body reads, calls one function, reports."""
    too_long = [
        f"{path.relative_to(DEFS)}:{node.name}: {lines} lines"
        for path, node in _decorated_functions()
        if (lines := _body_lines(node)) > MAX_BODY_LINES
    ]
    assert too_long == []


def _body_lines(node: ast.FunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize(
    ("upstream", "downstream"),
    [
        ("kafka/equipment-sensors", "marts/mart_equipment_health"),
        ("kafka/maintenance-events", "model/failure_24h"),
        ("model/failure_24h", "prediction/failure"),
        ("prediction/failure", "marts/mart_equipment_health"),
        ("marts/mart_equipment_health", "copilot/answers"),
        ("knowledge/corpus", "copilot/answers"),
        ("kafka/quality-metrics", "marts/mart_production_kpis"),
    ],
)
def test_lineage_is_unbroken(graph: Any, upstream: str, downstream: str) -> None:
    """Forbids a source key that does not match, which cuts the graph in two without an error."""
    target = dg.AssetKey(downstream.split("/"))
    seen, queue = set(), [target]
    while queue:
        for parent in graph.get(queue.pop()).parent_keys:
            if parent not in seen:
                seen.add(parent)
                queue.append(parent)
    assert dg.AssetKey(upstream.split("/")) in seen


def test_every_asset_is_described(graph: Any) -> None:
    """Forbids an asset that a person in the web UI can't place: no group, owner or description."""
    bare = [
        key.to_user_string()
        for key in graph.materializable_asset_keys
        if not (node := graph.get(key)).description or not node.owners or node.group_name == "default"
    ]
    assert bare == []


def test_every_landed_table_has_a_blocking_check(graph: Any) -> None:
    """Forbids a raw table whose ledger can be out of balance while its downstream goes on."""
    raw = {key for key in graph.materializable_asset_keys if key.path[0] == "raw"}
    blocked = {key.asset_key for key in graph.asset_check_keys if graph.get(key).blocking}
    assert raw and raw <= blocked


def test_jobs_and_schedules_are_there(definitions: dg.Definitions) -> None:
    """Forbids a schedule that is declared nowhere or starts switched off."""
    repository = definitions.get_repository_def()
    assert {"refresh", "warehouse", "training"} <= {job.name for job in repository.get_all_jobs()}
    schedules = {schedule.name: schedule for schedule in repository.schedule_defs}
    assert schedules
    assert all(s.default_status == dg.DefaultScheduleStatus.RUNNING for s in schedules.values())
    assert all(s.default_status == dg.DefaultSensorStatus.RUNNING for s in repository.sensor_defs)
