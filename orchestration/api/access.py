"""Who may ask, for which tenant, and how often: in front of every route, whoever mounted it.

A key belongs to one tenant. A request that names another tenant anywhere in its query or body is
refused; one that names none is given the key's. Avoid routes here: a route that forgot its tenant
must not be able to forget this.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestration.api.errors import error_response
from rag_assets.copilot.keys import ApiKey, KeyStore

OPEN_PATHS = frozenset({"/health", "/docs", "/openapi.json", "/metrics", "/favicon.ico"})
"""What probes, scrapers and readers of the documentation see without a key."""

SIGNED_PATHS = frozenset({"/v1/stream-data"})
"""Routes that are authenticated by a signature over the body as it was sent: it is left alone here."""

BODY_LIMIT = 32 * 1024 * 1024
_NO_TENANT = "(no tenant)"
_DEEPEST_BODY = 100  # Python's JSON reader gives up near 1,000, depending on who calls it; ours end at 6


@dataclass(frozen=True)
class _RefusedError(Exception):
    """Why a request goes no further."""

    status: int
    code: str
    message: str
    headers: dict[str, str]


class TenantLimiter:
    """Requests per minute of each tenant in this process.

    Args:
        requests_per_minute: Where a key says nothing else.
    """

    def __init__(self, requests_per_minute: int) -> None:
        self._default = requests_per_minute
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def check(self, tenant_id: str, key: ApiKey | None) -> None:
        """Count a request of a tenant; one that a signature speaks for only after that was verified.

        Raises:
            _RefusedError: The tenant has used its minute up.
        """
        allowed = (key.requests_per_minute if key else None) or self._default
        item = RateLimitItemPerMinute(allowed)
        if not self._limiter.hit(item, "tenant", tenant_id):
            raise self._refusal(item, f"tenant {tenant_id} may ask", "tenant", tenant_id)

    def check_unsigned(self, sender: str) -> None:
        """Refuse a sender whose signatures were wrong too often.

        Raises:
            _RefusedError: It has used its minute up.
        """
        item = RateLimitItemPerMinute(self._default)
        if not self._limiter.test(item, "unsigned", sender):
            raise self._refusal(item, f"{sender} may send wrong signatures", "unsigned", sender)

    def count_unsigned(self, sender: str) -> None:
        """Count a request whose signature was wrong: against its sender, not the tenant that it names."""
        self._limiter.hit(RateLimitItemPerMinute(self._default), "unsigned", sender)

    def _refusal(self, item: RateLimitItemPerMinute, who: str, *bucket: str) -> _RefusedError:
        reset_at, _ = self._limiter.get_window_stats(item, *bucket)
        return _RefusedError(
            429,
            "rate_limited",
            f"{who} {item.amount} times a minute and has; nothing was done for this request: send it again "
            "after the seconds in Retry-After",
            {
                "Retry-After": str(max(1, round(reset_at - time.time()))),
                "X-RateLimit-Limit": str(item.amount),
            },
        )


class AccessMiddleware:
    """Keys, tenants, rate limits and quotas in front of an application.

    Args:
        app: The application.
        keys: Where keys are looked up.
        limiter: Of requests per minute.
        keys_required: Whether a request without a key is refused.
    """

    def __init__(self, app: ASGIApp, keys: KeyStore, limiter: TenantLimiter, keys_required: bool) -> None:
        self._app = app
        self._keys = keys
        self._limiter = limiter
        self._keys_required = keys_required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] not in {"http", "websocket"} or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            if scope["path"] in SIGNED_PATHS:
                send = self._watching_signatures(scope, send)
            else:
                scope, receive = await self._admit(scope, receive)
            await self._app(scope, receive, send)
        except _RefusedError as refusal:
            await _refuse(refusal, scope, receive, send)

    def _watching_signatures(self, scope: Scope, send: Send) -> Send:
        """Counts what the route finds unsigned; the tenant is the route's to count, once it is sure of it."""
        sender = scope["client"][0] if scope.get("client") else "unknown"
        self._limiter.check_unsigned(sender)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                self._limiter.count_unsigned(sender)
            await send(message)

        return watched

    async def _admit(self, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
        key = await self._key(Headers(scope=scope))
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        named = {value for name, value in query if name == "tenant_id"}
        body: bytes | None = None
        if scope["type"] == "http" and scope["method"] not in {"GET", "HEAD", "OPTIONS", "DELETE"}:
            body = await _body(receive)
            try:
                payload = _payload(body, key)
                named |= set(_tenants(payload))
                if key:
                    body = _with_tenant(body, payload, key.tenant_id)
            except RecursionError:
                raise _RefusedError(
                    422, "invalid_request", "the body is nested too deeply to be read", {}
                ) from None
        if key:
            _same_tenant(key, named)
            kept = [(name, value) for name, value in query if name != "tenant_id"]
            scope = {**scope, "query_string": urlencode([*kept, ("tenant_id", key.tenant_id)]).encode()}
        tenants = {key.tenant_id} if key else named or {_NO_TENANT}
        for tenant_id in sorted(tenants):
            self._limiter.check(tenant_id, key)
        if key and key.requests_per_day:
            await self._quota(key, key.requests_per_day)
        return _with_body(scope, body, receive)

    async def _key(self, headers: Headers) -> ApiKey | None:
        authorization = headers.get("authorization", "")
        secret = headers.get("x-api-key") or (
            authorization[7:].strip() if authorization.lower().startswith("bearer ") else ""
        )
        if not secret:
            if self._keys_required:
                raise _RefusedError(
                    401,
                    "key_required",
                    "this API wants a key: send `Authorization: Bearer KEY` "
                    "(`opsgraph keys create --tenant T` makes one)",
                    {"WWW-Authenticate": "Bearer"},
                )
            return None
        try:
            key = await run_in_threadpool(self._keys.find, secret)
        except (OperationalError, PoolTimeout) as error:
            raise _no_database("the key can't be looked up", error) from error
        if key is None:
            raise _RefusedError(
                401, "invalid_key", "this key is unknown, expired or revoked", {"WWW-Authenticate": "Bearer"}
            )
        return key

    async def _quota(self, key: ApiKey, allowed: int) -> None:
        try:
            used = await run_in_threadpool(self._keys.count, key)
        except (OperationalError, PoolTimeout) as error:
            raise _no_database("the key's quota can't be counted", error) from error
        if used > allowed:
            raise _RefusedError(
                429,
                "quota_used_up",
                f"the key {key.name!r} may ask {allowed} times a day (UTC) and has; nothing was done for "
                "this request: come back tomorrow, or have the quota raised",
                {"Retry-After": str(86_400 - int(time.time()) % 86_400), "X-Quota-Limit": str(allowed)},
            )


def _no_database(what: str, error: Exception) -> _RefusedError:
    return _RefusedError(503, "database_unavailable", f"{what}: {error}", {})


def _same_tenant(key: ApiKey, named: set[str]) -> None:
    foreign = named - {key.tenant_id, ""}
    if foreign:
        raise _RefusedError(
            403,
            "wrong_tenant",
            f"this key is of tenant {key.tenant_id} and the request names {', '.join(sorted(foreign))}; "
            "nothing was looked up",
            {},
        )


def _payload(body: bytes, key: ApiKey | None) -> Any:
    """The JSON of a body, one value or one per line; what can't be read can't be checked against a key."""
    if not body.strip():
        return None
    try:
        return json.loads(body)
    except ValueError:
        try:
            return [json.loads(line) for line in body.splitlines() if line.strip()]
        except ValueError:
            if key is None:
                return None  # the route itself says what is wrong with it
            raise _RefusedError(
                422, "invalid_request", "the body is not JSON: its tenant can't be checked", {}
            ) from None


def _tenants(payload: Any) -> Iterator[str]:
    """Every `tenant_id` at any depth.

    Raises:
        RecursionError: It is nested deeper than a route could read it.
    """
    level = [payload]
    for _ in range(_DEEPEST_BODY):
        below: list[Any] = []
        for found in level:
            if isinstance(found, dict):
                for name, value in found.items():
                    if name == "tenant_id" and isinstance(value, str):
                        yield value.strip()
                    else:
                        below.append(value)
            elif isinstance(found, list):
                below.extend(found)
        if not below:
            return
        level = below
    raise RecursionError


def _with_tenant(body: bytes, payload: Any, tenant_id: str) -> bytes:
    """The body with the key's tenant in it, where it is an object that names none."""
    if isinstance(payload, dict) and not str(payload.get("tenant_id") or "").strip():
        return json.dumps({**payload, "tenant_id": tenant_id}).encode()
    return body


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_LIMIT:
            raise _RefusedError(
                413, "too_large", f"a request may have {BODY_LIMIT // 1024 // 1024} MiB at most", {}
            )
        if not message.get("more_body"):
            return b"".join(parts)


def _with_body(scope: Scope, body: bytes | None, receive: Receive) -> tuple[Scope, Receive]:
    """The request again, with a body that was read already."""
    if body is None:
        return scope, receive
    headers = [item for item in scope["headers"] if item[0] != b"content-length"]
    scope = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return unread.pop() if unread else await receive()

    return scope, replay


async def _refuse(refusal: _RefusedError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.message[:120]})
        return
    response = error_response(refusal.status, refusal.code, refusal.message)
    response.headers.update(refusal.headers)
    await response(scope, receive, send)
