"""Pushed records: one signed web request of records of one topic, answered after Kafka has them.

The idempotency key makes a repeat harmless: it gets the first answer and nothing is sent twice. Add checks of
a request here. Avoid HTTP itself: `orchestration.api` has the route.
"""

import hmac
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, cast

import psycopg

from orchestration.ingest.contracts import ContractError, TopicContract
from orchestration.ingest.intake.files import row_of
from orchestration.ingest.intake.positions import Answered, begin_request, drop_request, finish_request
from orchestration.ingest.intake.sending import Intake, SourceRow, landed_contract

SIGNATURE_PREFIX = "sha256="
MAX_RECORDS = 10_000


class PushStatus(StrEnum):
    """What became of a request."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    """The first answer to this key, given again."""
    IN_PROGRESS = "in_progress"
    OTHER_BODY = "other_body"
    """The key was used for another body."""


@dataclass(frozen=True)
class PushOutcome:
    """Answer to a request; `intake` is what Kafka acknowledged, of this request or of the first one."""

    status: PushStatus
    intake: dict[str, Any] | None = None


class UnsignedError(Exception):
    """The tenant has no secret, or the signature is not the body's."""


class MalformedError(Exception):
    """The body is not a request; says what is wrong."""


def make_secret(connection: psycopg.Connection[Any], tenant_id: str) -> str:
    """Make a tenant's signing secret anew; the one before stops working.

    Returns:
        The secret as hexadecimal text; it is shown this once.
    """
    secret = secrets.token_bytes(32)
    connection.execute(
        """
        insert into ops.webhook_secrets (tenant_id, secret) values (%s, %s)
        on conflict (tenant_id) do update set secret = excluded.secret, created_at = now()
        """,
        (tenant_id, secret),
    )
    return secret.hex()


def signature(secret: bytes, body: bytes) -> str:
    """Value of the signature header for a body.

    >>> signature(bytes.fromhex("00"), b"{}")[:20]
    'sha256=22f8eea909400'
    """
    return SIGNATURE_PREFIX + hmac.new(secret, body, sha256).hexdigest()


def check_signature(
    connection: psycopg.Connection[Any], tenant_id: str, body: bytes, given: str | None
) -> None:
    """Let only a body pass that the tenant's secret has signed.

    Raises:
        UnsignedError: It is not; the same error whether the tenant or the signature is unknown.
    """
    row = connection.execute(
        "select secret from ops.webhook_secrets where tenant_id = %s", (tenant_id,)
    ).fetchone()
    # Without a secret a random one is compared with, so that the time does not tell which tenants exist.
    expected = signature(bytes(row[0]) if row else secrets.token_bytes(32), body)
    if not hmac.compare_digest(expected, given or ""):
        raise UnsignedError(
            f"the signature is not the body's under the secret of tenant {tenant_id!r}: sign the bytes as "
            "sent with HMAC-SHA256, or make a secret with `opsgraph intake secret`"
        )


def accept(
    connection: psycopg.Connection[Any],
    send: Callable[[str, Sequence[SourceRow]], Intake],
    contracts: Mapping[str, TopicContract],
    tenant_id: str,
    idempotency_key: str,
    body: bytes,
) -> PushOutcome:
    """Send a request's records, once per key.

    Args:
        connection: Connection in autocommit mode.
        send: Sends rows to a topic and waits for the broker, `SharedSenders.send` for example.
        contracts: Contracts by topic.
        tenant_id: Tenant that signed the body; every record belongs to it.
        idempotency_key: Key of the request, chosen by the sender.
        body: `{"topic": …, "records": [{…}, …]}`.

    Raises:
        MalformedError: The body is not of this form. The key stays free.
        DeliveryError: The broker did not take the records. The key stays free.
        SchemaFaultError: The topic's schema stands in the way; nothing was sent. The key stays free.
        SchemaRegistryUnavailableError: The registry did not answer; the same.
    """
    topic, rows = _parse(contracts, tenant_id, body)
    digest = sha256(body).hexdigest()
    claim = begin_request(connection, tenant_id, idempotency_key, digest)
    if isinstance(claim, Answered):
        if claim.body_digest != digest:
            return PushOutcome(PushStatus.OTHER_BODY)
        if claim.response is None:
            return PushOutcome(PushStatus.IN_PROGRESS)
        return PushOutcome(PushStatus.REPEATED, claim.response)
    try:
        intake = send(topic, rows)
    except BaseException:
        drop_request(connection, claim)
        raise
    response = {**asdict(intake), "reasons": list(intake.reasons)}
    finish_request(connection, claim, response)
    return PushOutcome(PushStatus.ACCEPTED, response)


def _parse(
    contracts: Mapping[str, TopicContract], tenant_id: str, body: bytes
) -> tuple[str, list[SourceRow]]:
    try:
        request: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"the body is no JSON: {error}") from None
    if not isinstance(request, dict):
        raise MalformedError('the body is no object; send {"topic": …, "records": […]}')
    found = cast("dict[str, Any]", request)
    topic, records = found.get("topic"), found.get("records")
    if not isinstance(topic, str):
        raise MalformedError("`topic` is no text")
    try:
        landed_contract(contracts, topic)
    except ContractError as error:
        raise MalformedError(str(error)) from None
    if not isinstance(records, list) or not 0 < len(cast("list[Any]", records)) <= MAX_RECORDS:
        raise MalformedError(f"`records` is no list of 1 to {MAX_RECORDS} objects")
    rows: list[SourceRow] = []
    for number, item in enumerate(cast("list[Any]", records)):
        if not isinstance(item, dict):
            raise MalformedError(f"records[{number}] is no object")
        values = cast("dict[str, Any]", item)
        # The tenant is the one that signed: a record can't be put into another one's data.
        if values.get("tenant_id", tenant_id) != tenant_id:
            raise MalformedError(f"records[{number}] names tenant {values['tenant_id']!r}, not {tenant_id!r}")
        rows.append(row_of(f"request/records[{number}]", {**values, "tenant_id": tenant_id}))
    return topic, rows
