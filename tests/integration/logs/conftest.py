"""The fixture of the log services' tests."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.logs.window_service import TOPIC
from orchestration.ingest.topics import ensure_topics


@pytest.fixture
def fresh_topic(kafka_servers: str) -> Iterator[str]:
    """`raw_logs` recreated: the broker is shared by the session's tests."""
    admin = AdminClient({"bootstrap.servers": kafka_servers})
    if TOPIC in admin.list_topics(timeout=10).topics:
        admin.delete_topics([TOPIC])[TOPIC].result(15)
        deadline = time.monotonic() + 15
        while TOPIC in admin.list_topics(timeout=10).topics and time.monotonic() < deadline:
            time.sleep(0.05)
    ensure_topics(kafka_servers, load_contracts())
    yield kafka_servers
