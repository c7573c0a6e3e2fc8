"""`GET /health`: whether the API can answer, and what it answers with.

Avoid probing other services: each has its own health, and `opsgraph status` collects them.
"""

import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, Field

from rag_assets.copilot.copilot import Copilot


class Health(BaseModel):
    """Readiness of the API."""

    status: str = Field(description="`ready`, or `unavailable` (503) when the database does not answer.")
    database_latency_ms: float | None
    index_build: str | None = Field(description="The build that answers; null before the first one.")
    document_count: int
    uptime_s: float


def health_router(copilot: Callable[[], Copilot]) -> APIRouter:
    """The health route over the copilot that the application holds."""
    router = APIRouter(tags=["service"])
    started = time.monotonic()

    @router.get("/health", summary="Readiness", operation_id="health")
    def health(response: Response, served: Annotated[Copilot, Depends(copilot)]) -> Health:
        """Ready means that questions can be asked; without an index they are refused with 503."""
        try:
            latency: float | None = served.database_latency_ms()
        except (OperationalError, PoolTimeout):
            latency = None
            response.status_code = 503
        build = served.live.current()
        return Health(
            status="unavailable" if latency is None else "ready",
            database_latency_ms=latency,
            index_build=build.build_id if build else None,
            document_count=build.document_count if build else 0,
            uptime_s=round(time.monotonic() - started, 3),
        )

    return router
