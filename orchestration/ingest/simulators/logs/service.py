"""The generator as a web service: lines on request, as a stream and over a web socket.

An application of its own (`opsgraph lines serve`), not a part of the opsgraph API. Add an endpoint here.
Avoid making lines: `lines` does.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from orchestration.ingest.simulators.logs.config import AnomalyType, LogConfig
from orchestration.ingest.simulators.logs.lines import LogGenerator, LogLine

MOST_LINES = 10_000
MOST_PER_SECOND = 1_000.0


class GenerateRequest(BaseModel):
    """How many lines."""

    count: int = Field(default=10, ge=1, le=MOST_LINES, description="Lines to make.")


class InjectRequest(BaseModel):
    """Which anomaly, and where."""

    anomaly_type: AnomalyType = Field(description="One of the six types.")
    source: str | None = Field(default=None, description="Service; drawn by weight when absent.")


PerSecond = Annotated[float, Query(gt=0, le=MOST_PER_SECOND, description="Lines per second.")]
Limit = Annotated[int | None, Query(ge=1, description="End after so many lines; never by default.")]


def create_app(config: LogConfig, seed: int, starts_at: datetime | None = None) -> FastAPI:
    """The application.

    Args:
        config: What to write.
        seed: Of every draw.
        starts_at: Time of the first line; the time of the start by default.
    """
    app = FastAPI(title="opsgraph log generator", version="1.0.0")
    generator = LogGenerator(config, seed, starts_at or datetime.now(UTC))
    made = {"lines": 0, "injected": 0}

    def take(count: int) -> list[LogLine]:
        made["lines"] += count
        return list(generator.lines(count))

    @app.get("/api/health")
    def health() -> dict[str, Any]:
        """Whether it runs, what it made, which anomalies run."""
        running = {name: episode.type.value for name, episode in generator.running.items()}
        return {"status": "healthy", **made, "running": running}

    @app.post("/api/generate")
    def generate(request: GenerateRequest) -> dict[str, Any]:
        """Lines with their labels."""
        return {"logs": [line.record(config.tenant_id) for line in take(request.count)]}

    @app.post("/api/inject-anomaly")
    def inject(request: InjectRequest) -> dict[str, Any]:
        """Begin an anomaly with the next lines of its source."""
        try:
            episode = generator.inject(request.anomaly_type, request.source)
        except KeyError:
            known = ", ".join(source.name for source in config.sources)
            raise HTTPException(404, f"no source {request.source!r}; there are {known}") from None
        made["injected"] += 1
        return {"anomaly_type": episode.type, "source": episode.source.name, "lines": episode.total}

    @app.get("/api/stream")
    def stream(per_second: PerSecond = 10.0, limit: Limit = None) -> StreamingResponse:
        """Endless JSON lines."""

        async def body() -> AsyncIterator[bytes]:
            sent = 0
            while limit is None or sent < limit:
                yield take(1)[0].encode(config.tenant_id) + b"\n"
                sent += 1
                await asyncio.sleep(1.0 / per_second)

        return StreamingResponse(body(), media_type="application/x-ndjson")

    @app.websocket("/ws/logs")
    async def socket(socket: WebSocket, per_second: float = 10.0) -> None:
        """Lines as messages, until the client leaves."""
        await socket.accept()
        pause_s = 1.0 / min(max(per_second, 0.1), MOST_PER_SECOND)
        try:
            while True:
                await socket.send_text(json.dumps(take(1)[0].record(config.tenant_id)))
                await asyncio.sleep(pause_s)
        except WebSocketDisconnect:
            return

    return app
