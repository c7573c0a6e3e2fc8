"""Tokens and encryption of personal values."""

import pytest
from cryptography.exceptions import InvalidTag

from orchestration.ingest.pii import DeadLetterSeal, decrypt, encrypt, token_of


def test_tokens_join_within_a_tenant_and_nowhere_else() -> None:
    """Forbids tokens that differ per row, or that link a person across tenants."""
    assert token_of(b"tenant a", "T-17") == token_of(b"tenant a", "T-17")
    assert token_of(b"tenant a", "T-17") != token_of(b"tenant a", "T-18")
    assert token_of(b"tenant a", "T-17") != token_of(b"tenant b", "T-17")


def test_an_original_opens_with_its_key_in_its_place_only() -> None:
    """Forbids a sealed value that opens after its key was made anew, or under another person's token."""
    key, sealed = bytes(32), encrypt(bytes(32), b"T-17", b"a/token/field")
    assert decrypt(key, sealed, b"a/token/field") == b"T-17"
    with pytest.raises(InvalidTag):
        decrypt(bytes(31) + b"\x01", sealed, b"a/token/field")
    with pytest.raises(InvalidTag):
        decrypt(key, sealed, b"a/other/field")
    assert encrypt(key, b"T-17", b"x") != encrypt(key, b"T-17", b"x")


def test_a_sealed_dead_letter_opens_in_its_place_and_never_after_its_key_is_gone() -> None:
    """Forbids one letter without its key that makes all others unreadable, or that passes for a tombstone."""
    seal, later = _seal(bytes(32)), _seal(bytes(31) + b"\x01")
    own, other = b"plant-a/M-1", b"plant-b/M-1"
    kept = seal.seal(b"T-17", "topic/0/7", own)
    assert b"T-17" not in kept
    assert seal.open(kept, "topic/0/7", own) == b"T-17"
    assert seal.open(kept, "topic/0/8", own) == kept
    assert seal.open(kept, "topic/0/7", other) == kept
    assert later.open(kept, "topic/0/7", own) == kept
    assert (seal.open(None, "topic/0/7", own), seal.open(b"plain", "topic/0/7", None)) == (None, b"plain")
    sealed_before_tenants_had_keys = seal.seal(b"T-17", "topic/0/7", None)
    assert seal.open(sealed_before_tenants_had_keys, "topic/0/7", own) == b"T-17"


def _seal(key: bytes) -> DeadLetterSeal:
    seal = DeadLetterSeal(None)  # type: ignore[arg-type]
    seal._keys = {"plant-a": key, "plant-b": bytes(30) + b"xx", "*": bytes(30) + b"yy"}
    return seal
