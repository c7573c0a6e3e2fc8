"""How long `POST /v1/diagnose` takes over HTTP: real index, Postgres with fsync, marts of a small plant.

`make bench ONLY=diagnose`. Client, API and Postgres share the machine's cores; one question at a time.
"""

import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import httpx
import uvicorn

from deployment.embedded import postgres
from deployment.embedded.service import running
from orchestration.api.app import create_app
from orchestration.environment import Environment
from orchestration.figures import Figure, report
from orchestration.migrations import upgrade
from rag_assets.documents import CORPUS_DIR
from rag_assets.embedding import MiniLmEmbedder
from rag_assets.index.refresh import read_source, refresh_index
from rag_assets.index.stores import open_store
from tests.conftest import free_port
from tests.integration.plant_marts import write_marts

COMMAND = "make bench ONLY=diagnose"
REQUESTS, WARM_UP = 200, 10
QUESTIONS = (
    {"question": "Which machines fail next, why, and what do I do?", "tenant_id": "demo-plant"},
    {"question": "What does E101 mean?", "tenant_id": "demo-plant", "equipment_id": "CNC-A-102"},
    {"question": "How do I replace a spindle bearing on an HX-500?", "tenant_id": "demo-plant"},
    {"question": "What do I do when error1 is raised?", "tenant_id": "azure-pdm"},
)


def main() -> None:
    """Measure, report, and fail when a bar is not held."""
    with tempfile.TemporaryDirectory(prefix="opsgraph-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres runs as another user when this process is root
        port = free_port()
        postgres.initialise(folder / "postgres")
        database = postgres.service(folder / "postgres", port)
        with running(database, folder / "logs"), _api(_prepared(folder, port)) as url:
            latencies = _ask(url)
    p95 = statistics.quantiles(latencies, n=20)[-1]
    figures = [
        Figure("diagnose_p95", p95, "ms", "lower", bar=200.0, command=COMMAND),
        Figure("diagnose_p50", statistics.median(latencies), "ms", "lower", command=COMMAND),
    ]
    report("diagnose", figures)
    if any(figure.holds is False for figure in figures):
        raise SystemExit("diagnose: a bar is not held")


def _prepared(folder: Path, port: int) -> Environment:
    """A database with marts, predictions and an index of the project's corpus."""
    postgres.create_databases(port, ["opsgraph"])
    url = f"postgresql://postgres@127.0.0.1:{port}/opsgraph"
    upgrade(url)
    write_marts(url)
    environment = Environment(OPSGRAPH_HOME=folder / "state", DATABASE_URL=url, QDRANT_URL=None)  # type: ignore[call-arg]
    read_source(url, CORPUS_DIR, "corpus", None)
    embedder = MiniLmEmbedder(environment.state_dir / "models")
    store = open_store(environment.index_dir, None)
    refresh_index(url, store, embedder, folder / "no-golden-questions", date(2026, 11, 21))
    return environment


@contextmanager
def _api(environment: Environment) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create_app(environment), host="127.0.0.1", port=port, log_level="warning")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def _ask(url: str) -> list[float]:
    """Milliseconds per answered question."""
    spent: list[float] = []
    with httpx.Client(base_url=url, timeout=30, transport=httpx.HTTPTransport(retries=20)) as client:
        for number, body in enumerate(itertools.islice(itertools.cycle(QUESTIONS), WARM_UP + REQUESTS)):
            started = time.perf_counter()
            answer = client.post("/v1/diagnose", json=body).raise_for_status().json()
            if number >= WARM_UP:
                spent.append((time.perf_counter() - started) * 1000)
            if answer["status"] != "answered":
                raise SystemExit(f"not answered: {body} → {answer['answer']}")
    return spent


if __name__ == "__main__":
    main()
