"""`make demo` as a newcomer sees it: the run, its figures, and the pages in a real browser.

One stack in a folder and on ports of its own; the pages are visited while the demo stays up.
Screenshots are kept under `build/screenshots/` for CI.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Page, sync_playwright

from orchestration.environment import PROJECT_ROOT, Environment
from orchestration.figures import Figure, report
from tests.conftest import free_port

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = PROJECT_ROOT / "build" / "screenshots"
OPSGRAPH = Path(sys.executable).with_name("opsgraph")
# Chromium calls its maker's services in the background; a test machine may have no network.
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

pytestmark = [pytest.mark.slow, pytest.mark.integration]


@dataclass(frozen=True)
class Demo:
    """A demo that ran to its end and still stands."""

    environment: Environment
    variables: dict[str, str]
    output: str

    def verb(self, *arguments: str, timeout_s: float = 600) -> str:
        """Run one verb of the command line against this stack; fails with its output."""
        result = subprocess.run(
            [OPSGRAPH, *arguments], env=self.variables, capture_output=True, text=True, timeout=timeout_s
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def scalar(self, query: str) -> Any:
        """First column of the first row of a query on the demo's database."""
        with psycopg.connect(self.environment.database_url) as connection:
            row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """The demo on the simulator, started cold, left running."""
    with tempfile.TemporaryDirectory(prefix="opsgraph-demo-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        ports = {
            f"OPSGRAPH_{service}_PORT": str(free_port())
            for service in ("POSTGRES", "DAGSTER", "DAGSTER_CODE", "MLFLOW", "API", "DOCS")
        }
        ports["OPSGRAPH_KAFKA_PORT"] = str(_two_free_ports())
        variables = {**os.environ, **ports, "OPSGRAPH_HOME": name, "COLUMNS": "160"}
        log = Path(name) / "demo.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [OPSGRAPH, "demo"], env=variables, stdout=output, stderr=subprocess.STDOUT, cwd=PROJECT_ROOT
            )
        try:
            _wait_for_text(process, log, "Ctrl-C", timeout_s=600)
            settings = {key: int(value) for key, value in ports.items()}
            environment = Environment.model_validate({**settings, "OPSGRAPH_HOME": name})
            yield Demo(environment, variables, log.read_text())
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def _two_free_ports() -> int:
    """A port whose successor is free too: the broker's controller takes the next one."""
    import socket

    for _ in range(50):
        port = free_port()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port + 1)):
                return port
    raise AssertionError("no two neighbouring ports are free")


def _wait_for_text(process: subprocess.Popen[bytes], log: Path, text: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while text not in log.read_text():
        assert process.poll() is None, f"the demo ended with {process.returncode}:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"the demo did not finish:\n{log.read_text()}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of a headless Chromium that may talk to this machine only."""
    if CHROMIUM is None:
        message = "Debian's chromium is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        context = browser.new_context(viewport={"width": 1500, "height": 950})
        yield context.new_page()
        browser.close()


def _open(page: Page, url: str, text: str, name: str) -> None:
    page.goto(url)
    page.get_by_text(text).first.wait_for(timeout=45_000)
    page.wait_for_timeout(1_500)  # graphs are laid out after their data have come
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def _figures() -> dict[str, float]:
    rows = json.loads((PROJECT_ROOT / "build" / "demo.json").read_text())
    return {row["name"]: row["value"] for row in rows}


def test_demo_figures(demo: Demo) -> None:
    """Forbids a demo that exits well over an empty layer, an unbalanced ledger or uncited answers."""
    figures = _figures()
    assert figures["raw_sensor_rows"] == demo.scalar("select count(*) from raw.equipment_sensors") > 100_000
    assert figures["ledger_balanced"] == 1
    # One row per machine: the simulated plant has 20.
    assert figures["mart_equipment_health_rows"] == 20
    assert figures["answers_with_citations_ratio"] == 1
    assert 0 < figures["failure_event_recall_24h"] <= 1


def test_dagster_shows_the_graph_materialized(demo: Demo, page: Page) -> None:
    """Forbids a graph that the data engineer opens on missing or failed assets."""
    url = demo.environment.dagster_url
    _open(page, f"{url}/assets/marts/mart_equipment_health", "mart_equipment_health", "dagster_asset")
    assert page.get_by_text("Never materialized").count() == 0
    _open(page, f"{url}/asset-groups", "warehouse", "dagster_graph")
    _open(
        page, f"{url}/locations/orchestration/asset-groups/warehouse", "int_failure_labels", "dagster_group"
    )
    _open(page, f"{url}/runs", "refresh", "dagster_runs")
    assert page.get_by_text("Success").count() > 0


def test_mlflow_shows_the_champion(demo: Demo, page: Page) -> None:
    """Forbids a registry without the alias that the ML engineer and the predictions rely on."""
    url = demo.environment.mlflow_tracking_uri
    _open(page, f"{url}/#/models/failure-24h", "champion", "mlflow_model")


def test_api_docs_work_without_a_network(demo: Demo, page: Page) -> None:
    """Forbids documentation that loads its scripts from elsewhere."""
    foreign: list[str] = []
    page.on(
        "request",
        lambda r: foreign.append(r.url) if "127.0.0.1" not in r.url and r.url.startswith("http") else None,
    )
    _open(page, f"{demo.environment.api_url}/docs", "/v1/diagnose", "api_docs")
    assert foreign == []


def test_dbt_docs_show_the_lineage(demo: Demo, page: Page) -> None:
    """Forbids docs that were never generated or whose graph is empty."""
    process = subprocess.Popen([OPSGRAPH, "docs"], env=demo.variables, cwd=PROJECT_ROOT)
    try:
        url = f"http://127.0.0.1:{demo.environment.docs_port}"
        for _ in range(120):
            try:
                page.goto(url)
                break
            except Exception:
                time.sleep(0.5)
        model = "model.opsgraph.mart_equipment_health"
        _open(page, f"{url}/#!/model/{model}", "mart_equipment_health", "dbt_docs_model")
        page.goto("about:blank")  # a change of the fragment alone does not open the graph
        page.goto(f"{url}/#!/model/{model}?g_v=1&g_i=%2Bmart_equipment_health%2B")
        page.locator("canvas").first.wait_for(timeout=45_000)
        page.wait_for_timeout(3_000)
        page.screenshot(path=SCREENSHOTS / "dbt_docs_lineage.png")
    finally:
        process.kill()  # pytest's workers ignore SIGINT and SIGTERM, and so does what they start
        process.wait(60)


def test_a_second_demo_lands_exactly_one_more_hour(demo: Demo) -> None:
    """Forbids landing twice, and a simulator that loses its place."""
    before = demo.scalar("select count(*) from raw.equipment_sensors")
    produced_before = demo.scalar("select produced_through_at from ops.source_positions")
    demo.verb("simulate", "--hours", "1")
    demo.verb("land")
    produced_after = demo.scalar("select produced_through_at from ops.source_positions")
    assert (produced_after - produced_before).total_seconds() == 3600
    landed = demo.scalar("select count(*) from raw.equipment_sensors") - before
    in_kafka = demo.scalar(
        "select sum(offset_hi - offset_lo) from ops.landing_ledger where topic = 'equipment-sensors'"
    )
    # 20 machines give 4 readings an hour; some stand still, some readings come late or twice.
    assert 0 < landed <= 20 * 4 * 2
    assert in_kafka == before + landed
    demo.verb("land")
    assert demo.scalar("select count(*) from raw.equipment_sensors") == before + landed
    demo.verb("ledger", "check")


def test_one_asset_is_made_on_its_own(demo: Demo) -> None:
    """Forbids an asset that can't be materialized alone; keeps the time from click to end as a figure."""
    from orchestration.commands.dagster_runs import DagsterRuns

    runs = DagsterRuns(demo.environment.dagster_url)
    started = time.monotonic()
    run_id = runs.launch("refresh", assets=["raw/equipment_status"])
    events = list(runs.follow(run_id))
    seconds = time.monotonic() - started
    assert any(event.key == "raw/equipment_status" for event in events)
    command = "make test ARGS=tests/deployment/test_demo_in_browser.py"
    report("one_asset_run", [Figure("one_asset_run_seconds", seconds, "s", "lower", bar=10, command=command)])
