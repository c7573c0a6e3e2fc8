"""The route of pushed records: `POST /v1/stream-data`, signed, answered after Kafka has acknowledged.

Add a route here when records are pushed in another form. Avoid what a request means: `ingest.intake` has it.
"""

from typing import Annotated, Any

import psycopg
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Header, HTTPException, Request

from orchestration.api.access import TenantLimiter
from orchestration.environment import Environment
from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog, SchemaRegistryUnavailableError
from orchestration.ingest.intake.requests import (
    MalformedError,
    PushOutcome,
    PushStatus,
    UnsignedError,
    accept,
    check_signature,
)
from orchestration.ingest.intake.sending import SchemaFaultError, SharedSenders
from orchestration.ingest.producer import DeliveryError, UnsendableError

THREADS = 8
"""Requests that wait for Kafka at once. The API's 40 shared threads stay free for what needs no Kafka."""
MAX_BODY_BYTES = 8 * 1024 * 1024
STATUS_CODES = {
    PushStatus.ACCEPTED: 202,
    PushStatus.REPEATED: 202,
    PushStatus.IN_PROGRESS: 409,
    PushStatus.OTHER_BODY: 422,
}
_EXAMPLE = {
    "topic": "equipment-sensors",
    "records": [
        {"equipment_id": "CNC-A-102", "event_at": "2026-01-01T00:00:00Z", "temperature_c": 61.5},
    ],
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}},
    }
}


def intake_router(settings: Environment, limiter: TenantLimiter) -> APIRouter:
    """The router; its producers are opened with the first request of a topic.

    Args:
        settings: Addresses of database, Kafka and schema registry.
        limiter: Counts the requests of a tenant, once its signature was verified.
    """
    router = APIRouter(tags=["sources"])
    contracts = load_contracts()
    schemas = SchemaCatalog(contracts, settings.schema_registry_url)
    threads = CapacityLimiter(THREADS)
    senders = SharedSenders(settings.kafka_bootstrap_servers, contracts, schemas)

    @router.post("/v1/stream-data", status_code=202, openapi_extra=_BODY, summary="Push records into a topic")
    async def stream_data(
        request: Request,
        tenant: Annotated[str, Header(alias="X-Opsgraph-Tenant", description="Tenant that signed.")],
        key: Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=200)],
        given: Annotated[
            str | None,
            Header(alias="X-Opsgraph-Signature", description="`sha256=` and the HMAC-SHA256 of the body."),
        ] = None,
    ) -> dict[str, Any]:
        """Send records of one topic. 202 means that Kafka has acknowledged every one of them.

        The same idempotency key with the same body gets the first answer again, and nothing is sent twice.
        """
        body = await _body(request)
        outcome = await to_thread.run_sync(_push, tenant, key, given, body, limiter=threads)
        if (code := STATUS_CODES[outcome.status]) != 202:
            raise HTTPException(code, _REFUSALS[outcome.status])
        return {"status": outcome.status.value, **(outcome.intake or {})}

    def _push(tenant: str, key: str, given: str | None, body: bytes) -> PushOutcome:
        with psycopg.connect(settings.database_url, autocommit=True) as connection:
            try:
                check_signature(connection, tenant, body, given)
                limiter.check(tenant, None)
                return accept(connection, senders.send, contracts, tenant, key, body)
            except UnsignedError as error:
                raise HTTPException(401, str(error)) from None
            except MalformedError as error:
                raise HTTPException(400, f"{error}. Nothing was sent.") from None
            except UnsendableError as error:
                raise HTTPException(413, f"{error}. Leave that record out, or send it in parts.") from None
            except (DeliveryError, SchemaFaultError, SchemaRegistryUnavailableError) as error:
                raise HTTPException(503, f"{error}. Send the request again with the same key.") from None

    return router


_REFUSALS = {
    PushStatus.IN_PROGRESS: "a request with this key is at work; ask again in a moment",
    PushStatus.OTHER_BODY: "this idempotency key was used for another body; take a new one",
}


async def _body(request: Request) -> bytes:
    """The body as it was sent; larger ones are refused before they fill the memory."""
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise HTTPException(413, f"the body is larger than {MAX_BODY_BYTES} bytes; send fewer records")
        parts.append(part)
    return b"".join(parts)
