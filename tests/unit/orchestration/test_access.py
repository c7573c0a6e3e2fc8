"""Keys, tenants and limits in front of the routes, with keys and routes made up."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from psycopg_pool import PoolTimeout

from orchestration.api import intake_routes
from orchestration.api.access import AccessMiddleware, TenantLimiter
from orchestration.api.intake_routes import intake_router
from orchestration.environment import Environment
from orchestration.ingest.intake.requests import PushOutcome, PushStatus, UnsignedError
from rag_assets.copilot.keys import ApiKey

KEYED = {"X-API-Key": "secret"}


class Keys:
    """One key of the tenant `plant`, with a daily quota."""

    def __init__(self, count: Callable[[ApiKey], int] = lambda _: 1) -> None:
        self.count = count

    def find(self, _: str) -> ApiKey:
        """The key."""
        return ApiKey("k", "plant", "name", None, 10, datetime(2026, 1, 1, tzinfo=UTC), None, None)


def guarded(
    monkeypatch: pytest.MonkeyPatch, per_minute: int = 3, keys_required: bool = False, keys: Any = None
) -> TestClient:
    """An application with one plain route and the signed one; the right signature is `good`."""

    def check_signature(_: object, tenant: str, body: bytes, given: str | None) -> None:
        if given != "good":
            raise UnsignedError("wrong")

    monkeypatch.setattr(intake_routes, "check_signature", check_signature)
    monkeypatch.setattr(intake_routes, "accept", lambda *_: PushOutcome(PushStatus.ACCEPTED))
    monkeypatch.setattr("psycopg.connect", lambda *_, **__: nullcontext())
    app, limiter = FastAPI(), TenantLimiter(per_minute)
    app.include_router(intake_router(Environment(), limiter))

    @app.post("/echo")
    async def echo(request: Request) -> Any:
        return await request.json()

    checked: Any = keys or Keys()
    app.add_middleware(AccessMiddleware, keys=checked, limiter=limiter, keys_required=keys_required)
    return TestClient(app, raise_server_exceptions=False)


def push(api: TestClient, signature: str) -> int:
    headers = {"X-Opsgraph-Tenant": "plant", "X-Opsgraph-Signature": signature, "Idempotency-Key": "1"}
    return api.post("/v1/stream-data", content=b"{}", headers=headers).status_code


def test_unsigned_requests_use_up_no_tenants_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids that anybody stops a tenant by naming it."""
    api = guarded(monkeypatch, per_minute=3)

    assert [push(api, "bad") for _ in range(5)] == [401, 401, 401, 429, 429]
    assert [api.post("/echo", json={}, headers=KEYED).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_signed_requests_are_counted_as_the_tenants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids records beyond the tenant's limit, and an error without its seconds."""
    api = guarded(monkeypatch, per_minute=3)

    assert [push(api, "good") for _ in range(4)] == [202, 202, 202, 429]
    assert api.post("/echo", json={}, headers=KEYED).status_code == 429


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 900 + b"]" * 900])
@pytest.mark.parametrize("headers", [{}, KEYED])
def test_a_deeply_nested_body_is_the_callers_mistake(
    monkeypatch: pytest.MonkeyPatch, body: bytes, headers: dict[str, str]
) -> None:
    """Forbids a 500, which wakes somebody, for what a caller can send at will."""
    api = guarded(monkeypatch, per_minute=100)

    found = api.post("/echo", content=body, headers=headers)

    assert (found.status_code, found.json()["error"]["code"]) == (422, "invalid_request")


def test_a_quota_that_cannot_be_counted_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a 500 when the database is away between the key and its quota."""

    def away(_: ApiKey) -> int:
        raise PoolTimeout("no connection")

    found = guarded(monkeypatch, keys=Keys(away)).post("/echo", json={}, headers=KEYED)

    assert (found.status_code, found.json()["error"]["code"]) == (503, "database_unavailable")


def test_where_keys_are_required_no_route_has_to_guess_the_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids that `/v1/predict` looks for the machine among all tenants: its request need not name one."""
    api = guarded(monkeypatch, keys_required=True)

    assert api.post("/echo", json={"equipment_id": "X"}).status_code == 401
    for named in ({}, {"tenant_id": None}, {"tenant_id": " "}):
        sent = api.post("/echo", json={"equipment_id": "X", **named}, headers=KEYED).json()
        assert sent == {"equipment_id": "X", "tenant_id": "plant"}
