"""How long `POST /predict` takes at 200 requests per second: one row, inline drift check on.

`make bench ONLY=predict`. The stand-alone application runs in a process of its own; requests leave at fixed
instants whatever came back, and latency counts from the instant at which a request was due.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np

from ml.datasets.azure_pdm import read_azure_pdm
from ml.datasets.training_set import Provenance, build_training_set
from ml.models.calibration import PlattCalibrator
from ml.models.failure import FailureModel
from ml.training.artefacts import ArtefactFolder, usual_input, write_artefacts
from ml.training.fitting import FailureParameters, fit_booster
from orchestration.environment import PROJECT_ROOT, Environment
from orchestration.figures import Figure, report
from tests.conftest import free_port

COMMAND = "make bench ONLY=predict"
RATE_PER_S, SECONDS, WARM_UP_S, CONNECTIONS = 200, 20, 3, 20


def main() -> None:
    """Measure, report, and fail when a bar is not held."""
    with tempfile.TemporaryDirectory(prefix="opsgraph-bench-", ignore_cleanup_errors=True) as name:
        written, rows = _artefacts(Path(name))
        with _service(written, Path(name)) as url:
            latencies = asyncio.run(_offer(url, rows))
            counted = httpx.get(f"{url}/metrics").text
    assert f"inference_requests_total {float((SECONDS + WARM_UP_S) * RATE_PER_S)}" in counted
    quantiles = statistics.quantiles(latencies, n=100)
    figures = [
        Figure("predict_p95", quantiles[94], "ms", "lower", bar=15.0, command=COMMAND),
        Figure("predict_p50", statistics.median(latencies), "ms", "lower", command=COMMAND),
        Figure("predict_p99", quantiles[98], "ms", "lower", command=COMMAND),
        Figure("predict_rate", RATE_PER_S, "requests/s", "higher", bar=200, command=COMMAND),
    ]
    report("predict", figures)
    if any(figure.holds is False for figure in figures):
        raise SystemExit("predict: a bar is not held")


def _artefacts(folder: Path) -> tuple[ArtefactFolder, list[list[float | None]]]:
    history = read_azure_pdm(Environment().data_dir / "azure_pdm").replay
    assert history.clock is not None
    data = build_training_set(history, timedelta(hours=24), history.clock, Provenance("files"))
    booster = fit_booster(data.values, data.is_failure, data.features, FailureParameters())
    model = FailureModel(booster, PlattCalibrator(1.0, 0.0), 0.5, 24, data.features)
    chosen = np.random.default_rng(5).choice(len(data.values), 500, replace=False)
    rows = [[None if np.isnan(value) else float(value) for value in row] for row in data.values[chosen]]
    return write_artefacts(model, usual_input(data), folder / "models"), rows


@contextmanager
def _service(written: ArtefactFolder, folder: Path) -> Iterator[str]:
    port = free_port()
    environment = {
        **os.environ,
        "MODEL_PATH": str(written.model),
        "BASELINE_PATH": str(written.baseline),
        "EXPECTATIONS_PATH": str(written.expectations),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "ml.serving.app:create_app"]
    # With the default of 5 s an idle connection of the client closes in the middle of its next request.
    command += ["--port", str(port), "--log-level", "warning", "--timeout-keep-alive", "60"]
    url = f"http://127.0.0.1:{port}"
    with (folder / "service.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=PROJECT_ROOT, stdout=log)
        try:
            _wait(url)
            yield url
        finally:
            process.terminate()
            process.wait(20)


def _wait(url: str) -> None:
    for _ in range(600):
        try:
            httpx.get(f"{url}/health").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the service did not become ready in 60 s")


async def _offer(url: str, rows: list[list[float | None]]) -> list[float]:
    """Milliseconds from the instant a request was due to its answer, in an open loop.

    Requests are ready-made bytes over kept connections: a client library would take more of the shared
    cores than the service does.
    """
    port = int(url.rsplit(":", 1)[1])
    bodies = [json.dumps({"inputs": [row]}).encode() for row in rows]
    head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    requests = [head.format(len(body)).encode() + body for body in bodies]
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    spent: list[float] = []
    begun = time.perf_counter() + 0.2

    async def ask(number: int, due: float) -> None:
        reader, writer = await free.get()
        writer.write(requests[number % len(requests)])
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"refused: {body.decode()}")
        free.put_nowait((reader, writer))
        if number >= WARM_UP_S * RATE_PER_S:
            spent.append((time.perf_counter() - due) * 1000)

    async with asyncio.TaskGroup() as running:
        for number in range((SECONDS + WARM_UP_S) * RATE_PER_S):
            due = begun + number / RATE_PER_S
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            running.create_task(ask(number, due))
    return spent


if __name__ == "__main__":
    main()
