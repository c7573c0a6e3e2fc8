"""From the close of a window to the alert: real Postgres, real index, real search over HTTP.

`make bench ONLY=alerts`. A signal is committed as the window service commits it; the clock stops when the
alert's row is committed. A second figure stops when a local webhook has taken it.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from deployment.embedded import postgres
from deployment.embedded.service import running
from orchestration.figures import Figure, report
from orchestration.incident_parts import api_search
from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.delivery.alerting import AlertMaker
from orchestration.ingest.delivery.channels import Channel, ChannelKind
from orchestration.ingest.incident_service import IncidentService, IncidentServiceSettings
from orchestration.ingest.signals import Signal, SignalKind, write_signals
from orchestration.migrations import upgrade
from orchestration.remediation_evaluation import index_corpus
from rag_assets.documents import CORPUS_DIR, read_folder
from rag_assets.embedding import MiniLmEmbedder
from tests.conftest import free_port
from tests.integration.incidents.receiver import Receiver, receiving

COMMAND = "make bench ONLY=alerts"
INCIDENTS = 60
TENANT = "demo-plant"


class _Query(BaseModel):
    query: str
    tenant_id: str
    top_k: int


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory(prefix="opsgraph-bench-") as name:
        work = Path(name)
        work.chmod(0o755)
        with _database(work) as database_url, _search(work) as api_url, receiving() as received:
            to_alert, to_webhook, parts = _measure(database_url, api_url, received)
    report(
        "alerts",
        [
            Figure("window_close_to_alert_p95", _p95(to_alert), "s", "lower", bar=2.0, command=COMMAND),
            Figure("window_close_to_alert_p50", statistics.median(to_alert), "s", "lower", command=COMMAND),
            Figure("window_close_to_webhook_p95", _p95(to_webhook), "s", "lower", command=COMMAND),
            Figure("alert_retrieval_p95", _p95(parts) / 1000, "s", "lower", bar=0.5, command=COMMAND),
        ],
    )


def _measure(
    database_url: str, api_url: str, received: Receiver
) -> tuple[list[float], list[float], list[float]]:
    documents = {
        (item.tenant_id, item.document_id, item.version): item.content
        for item in read_folder(CORPUS_DIR).documents
    }
    channel = Channel(name="bench", kind=ChannelKind.WEBHOOK, url=received.url, per_minute=10_000)
    maker = AlertMaker(
        api_search(api_url),
        lambda tenant, document, version: documents.get((tenant, document, version)),
        load_contracts()["processed_alerts"],
        [channel],
    )
    settings = IncidentServiceSettings(database_url, None, None, TENANT)
    service = IncidentService(settings, maker, [channel])
    thread = threading.Thread(target=service.run)
    thread.start()
    to_alert, to_webhook = [], []
    try:
        with psycopg.connect(database_url, autocommit=True) as connection:
            for number in range(-3, INCIDENTS):  # three to warm up: the embedder's first calls take longer
                signal = _signal(number)
                begun = time.perf_counter()
                write_signals(connection, [signal])
                alerted = _wait(lambda n=number: _alerts(connection) >= n + 4)
                taken = _wait(lambda n=number: _opened(received) >= n + 4)
                if number >= 0:
                    to_alert.append(alerted - begun)
                    to_webhook.append(taken - begun)
            rows = connection.execute(
                "select (stage_latencies_ms ->> 'retrieval_ms')::float8 from ops.alerts "
                "where revision = 0 order by created_at"
            ).fetchall()
    finally:
        service.stop()
        thread.join()
    return to_alert, to_webhook, [row[0] for row in rows[3:]]


def _signal(number: int) -> Signal:
    """A finding of a service of its own, half an hour after the one before: each opens an incident."""
    at = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(minutes=30 * (number + 3))
    lines = (
        ["request r1 timed out after 4800 ms", "service degraded: request r2 took 3900 ms"],
        ["memory usage at 90 percent, requests are being shed", "memory exhausted: 99 percent used"],
        ["blocked SQL injection: UNION SELECT password FROM users from 10.0.0.9"],
        ["connection to 10.0.0.7 failed: connection refused", "upstream returned 503 service unavailable"],
    )[number % 4]
    return Signal(
        TENANT, SignalKind.LOG_ERRORS, f"service-{number}", at, at, 9.0, f"service-{number}: {lines[0]}",
        evidence={"window_starts_at": (at - timedelta(minutes=1)).isoformat(), "sample_lines": lines},
    )  # fmt: skip


def _alerts(connection: psycopg.Connection) -> int:
    row = connection.execute("select count(*) from ops.alerts where revision = 0").fetchone()
    return row[0] if row else 0


def _opened(received: Receiver) -> int:
    """Beginnings that the webhook took; each incident's end comes half an hour of log time later."""
    return sum(body["alerts"][0]["status"] == "open" for body in received.bodies)


def _wait(is_done, limit_s: float = 30.0) -> float:
    end = time.perf_counter() + limit_s
    while not is_done():
        if time.perf_counter() > end:
            raise SystemExit("alerts: nothing came within 30 s")
        time.sleep(0.002)
    return time.perf_counter()


@contextmanager
def _database(work: Path) -> Iterator[str]:
    port = free_port()
    postgres.initialise(work / "postgres")
    with running(postgres.service(work / "postgres", port, fsync=True), work / "logs"):
        postgres.create_databases(port, ["opsgraph"])
        url = f"postgresql://postgres@127.0.0.1:{port}/opsgraph"
        upgrade(url)
        yield url


@contextmanager
def _search(work: Path) -> Iterator[str]:
    """The route `/query` over the project's corpus, as the API answers it, in a server of its own."""
    with closing(index_corpus(CORPUS_DIR, MiniLmEmbedder(work / "models"), work)) as retriever:
        from rag_assets.retrieval import SearchRequest

        app = FastAPI()

        @app.post("/query")
        def query(request: _Query) -> dict[str, object]:
            today = datetime.now(UTC).date()
            hits = retriever.search(SearchRequest(request.query, request.tenant_id, today, request.top_k))
            return {
                "hits": [
                    {
                        "document_id": hit.document.document_id,
                        "version": hit.document.version,
                        "title": hit.passage.title,
                        "section": hit.passage.section,
                        "text": hit.passage.text,
                        **vars(hit.evidence),
                    }
                    for hit in hits
                ]
            }

        port = free_port()
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


if __name__ == "__main__":
    main()
