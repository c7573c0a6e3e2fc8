"""Personal data: fields flagged `pii` leave landing as keyed tokens, the originals encrypted.

One key per tenant makes the tokens (equal values give equal tokens, so joins still work); one key per
subject encrypts the originals in `ops.pii_vault`. Deleting a subject's key makes its originals
unreadable for good. Add here what concerns these keys. Avoid access control: whoever may read
`ops.pii_keys` can read the originals.
"""

import hmac
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import polars as pl
import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from orchestration.ingest.contracts import TopicContract

TENANT_KEY = "tenant"
"""In place of a subject's token: the row of `ops.pii_keys` that holds the tenant's token key."""
ALL_TENANTS, DEAD_LETTERS_KEY = "*", "dead-letters"
SEALED = b"opsgraph sealed 1\n"
KEY_BITS = 256
NONCE_BYTES = 12
TOKEN_HEX_DIGITS = 32  # 128 bits: no two of a plant's people ever share a token


@dataclass(frozen=True, order=True)
class Subject:
    """One personal value that a batch holds."""

    tenant_id: str
    token: str
    field: str
    original: str


def token_of(tenant_key: bytes, value: str) -> str:
    """Token of a value.

    >>> token_of(b"key", "T-17")
    'pii_b4c2b5be21822854093006177bed5ed3'
    """
    return "pii_" + hmac.new(tenant_key, value.encode(), sha256).hexdigest()[:TOKEN_HEX_DIGITS]


class PiiVault:
    """Replaces personal values by tokens and stores the originals."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """Use a connection in autocommit mode for the tenants' token keys."""
        self._connection = connection
        self._tenant_keys: dict[str, bytes] = {}

    def replace(self, contract: TopicContract, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[Subject]]:
        """Replace the personal values of a frame by tokens.

        Args:
            contract: Contract whose flagged fields are replaced.
            frame: Rows with `tenant_id` and the contract's fields.

        Returns:
            The frame with tokens, and each distinct value that was replaced.
        """
        subjects: list[Subject] = []
        for name in [field.name for field in contract.fields if field.is_pii]:
            found = frame.select("tenant_id", name).drop_nulls().unique()
            if not found.height:
                continue
            tokens = [token_of(self._tenant_key(tenant), value) for tenant, value in found.iter_rows()]
            subjects += [
                Subject(tenant, token, name, value)
                for (tenant, value), token in zip(found.iter_rows(), tokens, strict=True)
            ]
            mapping = found.with_columns(pl.Series("__token", tokens, pl.String()))
            frame = (
                frame.join(mapping, on=["tenant_id", name], how="left", maintain_order="left")
                .with_columns(pl.col("__token").alias(name))
                .drop("__token")
            )
        return frame, subjects

    def store(self, connection: psycopg.Connection[Any], subjects: Iterable[Subject]) -> None:
        """Store the originals that are not stored yet, in the caller's transaction."""
        found = set(subjects)
        if not found:
            return
        # Asked each time: what a lander remembers would be wrong after an erasure.
        places = [(item.tenant_id, item.token, item.field) for item in found]
        stored = set(
            connection.execute(
                """
                select tenant_id, subject_token, field from ops.pii_vault
                inner join unnest(%s::text[], %s::text[], %s::text[]) as w (tenant_id, subject_token, field)
                    using (tenant_id, subject_token, field)
                """,
                [list(column) for column in zip(*places, strict=True)],
            ).fetchall()
        )
        new = [item for item in found if (item.tenant_id, item.token, item.field) not in stored]
        for subject in sorted(new):  # in one order everywhere, so that two landers can't wait for each other
            key = _subject_key(connection, subject.tenant_id, subject.token)
            connection.execute(
                """
                insert into ops.pii_vault (tenant_id, subject_token, field, ciphertext)
                values (%s, %s, %s, %s) on conflict do nothing
                """,
                (
                    subject.tenant_id, subject.token, subject.field,
                    encrypt(key, subject.original.encode(), _context(subject)),
                ),
            )  # fmt: skip

    def _tenant_key(self, tenant_id: str) -> bytes:
        if tenant_id not in self._tenant_keys:
            self._tenant_keys[tenant_id] = _subject_key(self._connection, tenant_id, TENANT_KEY)
        return self._tenant_keys[tenant_id]


class DeadLetterSeal:
    """Encrypts the kept bytes of refused messages of topics with personal fields, under a key per tenant.

    Their subject can't be read, so one key serves a tenant's letters: deleting it makes them all
    unreadable. The tenant is the first part of the message's key; letters without one share a key.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """Use a connection for the keys, which are read on first use."""
        self._connection = connection
        self._keys: dict[str, bytes] = {}

    def seal(self, payload: bytes, place: str, message_key: bytes | None) -> bytes:
        """Encrypt a payload; `place` (topic id, partition, offset) must be the same to open it."""
        key = self._sealing_key(tenant_of(message_key))
        return SEALED + encrypt(key, payload, place.encode())

    def open(self, kept: bytes | None, place: str, message_key: bytes | None) -> bytes | None:
        """The payload as it was read from Kafka, whether it was sealed or not.

        Sealed bytes whose key was deleted come back as they are: they are no message of any format, so a
        replay refuses them and they stay where they are.
        """
        if kept is None or not kept.startswith(SEALED):
            return kept
        for tenant in dict.fromkeys([tenant_of(message_key), ALL_TENANTS]):  # the second sealed all once
            with suppress(InvalidTag):
                return decrypt(self._sealing_key(tenant), kept[len(SEALED) :], place.encode())
        return kept

    def _sealing_key(self, tenant: str) -> bytes:
        if tenant not in self._keys:
            self._keys[tenant] = _subject_key(self._connection, tenant, DEAD_LETTERS_KEY)
        return self._keys[tenant]


def tenant_of(message_key: bytes | None) -> str:
    """Tenant that a message's key `tenant/…` names; `ALL_TENANTS` where it names none.

    >>> tenant_of(b"demo-plant/CNC-A-101"), tenant_of(None)
    ('demo-plant', '*')
    """
    tenant, slash, _ = (message_key or b"").partition(b"/")
    try:
        return tenant.decode() if slash and tenant and b"\x00" not in tenant else ALL_TENANTS
    except UnicodeDecodeError:
        return ALL_TENANTS


def has_personal_fields(contract: TopicContract) -> bool:
    """Whether messages of a topic may hold personal values."""
    return any(field.is_pii for field in contract.fields)


def _subject_key(connection: psycopg.Connection[Any], tenant_id: str, token: str) -> bytes:
    """The key of a subject, made if there is none."""
    connection.execute(
        """
        insert into ops.pii_keys (tenant_id, subject_token, encryption_key)
        values (%s, %s, %s) on conflict do nothing
        """,
        (tenant_id, token, secrets.token_bytes(KEY_BITS // 8)),
    )
    row = connection.execute(
        "select encryption_key from ops.pii_keys where tenant_id = %s and subject_token = %s",
        (tenant_id, token),
    ).fetchone()
    assert row is not None
    return bytes(row[0])


def original_of(connection: psycopg.Connection[Any], tenant_id: str, token: str, field: str) -> str | None:
    """The original behind a token; None where its key was deleted or it was never stored."""
    row = connection.execute(
        """
        select v.ciphertext, k.encryption_key
        from ops.pii_vault as v
        inner join ops.pii_keys as k on v.tenant_id = k.tenant_id and v.subject_token = k.subject_token
        where v.tenant_id = %s and v.subject_token = %s and v.field = %s
        """,
        (tenant_id, token, field),
    ).fetchone()
    if row is None:
        return None
    context = _context(Subject(tenant_id, token, field, ""))
    try:
        return decrypt(bytes(row[1]), bytes(row[0]), context).decode()
    except InvalidTag:  # the key was deleted and made anew for later data
        return None


def encrypt(key: bytes, plain: bytes, context: bytes) -> bytes:
    """AES-256-GCM with a random nonce in front; the context must be the same to decrypt."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, context)


def decrypt(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """Undo `encrypt`.

    Raises:
        InvalidTag: Another key, another context, or changed bytes.
    """
    return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)


def _context(subject: Subject) -> bytes:
    return f"{subject.tenant_id}/{subject.token}/{subject.field}".encode()
