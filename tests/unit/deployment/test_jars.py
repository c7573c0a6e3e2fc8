"""The jars are exactly those of the committed list."""

import hashlib
from pathlib import Path

import httpx
import pytest

from deployment.embedded import jars
from deployment.embedded.service import ServiceError


def test_every_jar_has_a_checksum() -> None:
    """Forbids a jar that is taken as it comes, and a broker without its log binding."""
    locked = jars.locked_jars()
    assert all(len(checksum) == 64 for checksum in locked.values())
    versions = {coordinate.rsplit(":", 1)[0]: coordinate.rsplit(":", 1)[1] for coordinate in locked}
    assert len(versions) == len(locked)  # no artefact in two versions
    assert versions["org.apache.kafka:kafka-clients"] == versions["org.apache.kafka:kafka_2.13"]
    assert versions["org.slf4j:slf4j-simple"] == versions["org.slf4j:slf4j-api"]


def test_jar_with_another_content_is_not_kept(tmp_path: Path) -> None:
    """Forbids a tampered or truncated jar on the class path."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"something else"))
    expected = hashlib.sha256(b"the jar").hexdigest()
    with httpx.Client(transport=transport) as client, pytest.raises(ServiceError, match="checksum"):
        jars._fetch(client, tmp_path, "group:artifact:1.0", expected)
    assert list(tmp_path.iterdir()) == []
