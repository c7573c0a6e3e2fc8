"""Tokens and encryption of personal values."""

import pytest
from cryptography.exceptions import InvalidTag

from orchestration.ingest.pii import decrypt, encrypt, token_of


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
