"""`POST /query` under load over HTTP: 50 requests a second for 20 s, extractive, with and without an answer.

`make bench ONLY=query`. Requests leave on a fixed clock whether or not earlier ones have come back (an
open loop), and a latency counts from the moment at which its request was due: a server that stalls can't
hide it. Client, API and Postgres share the machine's cores.
"""

import asyncio
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from deployment.embedded import postgres
from deployment.embedded.service import running
from orchestration.figures import Figure, report
from tests.benchmarks.bench_diagnose import _api, _prepared
from tests.conftest import free_port

COMMAND = "make bench ONLY=query"
RATE, SECONDS, WARM_UP = 50, 20, 40
BAR_MS = 60.0
QUESTIONS = (
    ("demo-plant", "What does E101 spindle overtemperature mean and how do I clear it?"),
    ("demo-plant", "How do I replace a spindle bearing on an HX-500?"),
    ("demo-plant", "oil temperature of the press too high after the break"),
    ("demo-plant", "belt slips on the conveyor when it starts under load"),
    ("demo-plant", "vibration limit exceeded, sounds rough at 2000 rpm"),
    ("azure-pdm", "What do I do when error1 is raised?"),
    ("azure-pdm", "Which component follows error3, and how long does a replacement take?"),
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
            plain = asyncio.run(_load(url, answer=False))
            answered = asyncio.run(_load(url, answer=True))
    figures = [
        Figure("query_p95_at_50_per_s", _p95(plain), "ms", "lower", bar=BAR_MS, command=COMMAND),
        Figure("query_p50_at_50_per_s", statistics.median(plain), "ms", "lower", command=COMMAND),
        Figure(
            "query_with_answer_p95_at_50_per_s", _p95(answered), "ms", "lower", bar=BAR_MS, command=COMMAND
        ),
        Figure(
            "query_with_answer_p50_at_50_per_s", statistics.median(answered), "ms", "lower", command=COMMAND
        ),
    ]
    report("query", figures)
    if any(figure.holds is False for figure in figures):
        raise SystemExit("query: a bar is not held")


async def _load(url: str, answer: bool) -> list[float]:
    """Milliseconds from the due moment to the whole answer, for each request."""
    spent: list[float] = []
    # The server closes a connection that was idle for 5 s: the client has to let go of it first.
    limits = httpx.Limits(max_connections=200, keepalive_expiry=2)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client:
        await _until_up(client)
        bodies = itertools.cycle(
            {"query": f"{text} ({number})", "tenant_id": tenant, "top_k": 5, "answer": answer}
            for number, (tenant, text) in enumerate(QUESTIONS * 30)
        )
        for body in itertools.islice(bodies, WARM_UP):
            (await client.post("/query", json=body)).raise_for_status()
        begun = time.perf_counter() + 0.1
        tasks = []
        for number in range(RATE * SECONDS):
            due = begun + number / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(_one(client, next(bodies), due, spent)))
        await asyncio.gather(*tasks)
    return spent


async def _one(client: httpx.AsyncClient, body: dict[str, Any], due: float, spent: list[float]) -> None:
    response = await client.post("/query", json=body)
    response.raise_for_status()
    spent.append((time.perf_counter() - due) * 1000)


async def _until_up(client: httpx.AsyncClient) -> None:
    for _ in range(100):
        try:
            if (await client.get("/health")).is_success:
                return
        except httpx.HTTPError:
            await asyncio.sleep(0.1)
    raise SystemExit("the API did not come up")


def _p95(spent: list[float]) -> float:
    return statistics.quantiles(spent, n=20)[-1]


if __name__ == "__main__":
    main()
