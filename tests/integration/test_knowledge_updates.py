"""Documents that arrive on the topic `knowledge-updates`, over real Kafka and Postgres."""

import json

import psycopg
import pytest
from confluent_kafka import Producer

from orchestration.ingest import document_updates
from orchestration.ingest.document_updates import ensure_topic, read_updates, waiting
from rag_assets.sources.updates import apply_updates

pytestmark = pytest.mark.integration


def send(servers: str, *messages: tuple[str, dict[str, object] | None]) -> None:
    """Produce and wait for the acknowledgements."""
    producer = Producer({"bootstrap.servers": servers})
    for key, value in messages:
        producer.produce(document_updates.TOPIC, json.dumps(value) if value else None, key=key)
    producer.flush(10)


def documents(url: str) -> list[tuple[str, str]]:
    """Tenant and text of each document."""
    with psycopg.connect(url) as connection:
        return connection.execute("select tenant_id, content from rag.documents order by 1, 2").fetchall()


def test_messages_become_documents_once(kafka_servers: str, database_url: str) -> None:
    """Forbids a lost message, one applied twice, and one bad message that stops all others.

    The run fails on its first try after it has stored rows: position and rows must both be as before.
    """
    ensure_topic(kafka_servers)
    send(
        kafka_servers,
        ("plant/pump.md", {"content": "# Pump\n\nGrease it.", "metadata": {"version": "2"}}),
        ("plant/belt.md", {"content": "# Belt\n\nTension it."}),
        ("nonsense", {"content": "x"}),
        ("plant/belt.md", None),
        ("plant/pump.md", {"content": "# Pump\n\nOil it.", "metadata": {"version": "3"}}),
    )

    def failing(connection: psycopg.Connection, messages: object) -> None:
        apply_updates(connection, messages)  # type: ignore[arg-type]
        raise RuntimeError("stopped on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        read_updates(kafka_servers, database_url, failing)
    assert documents(database_url) == []
    assert waiting(kafka_servers, database_url)

    broken: list[str] = []

    def apply(connection: psycopg.Connection, messages: object) -> None:
        found = apply_updates(connection, messages)  # type: ignore[arg-type]
        broken.extend(item.path for item in found.broken)

    first = read_updates(kafka_servers, database_url, apply)
    second = read_updates(kafka_servers, database_url, apply)

    assert (first.message_count, second.message_count) == (5, 0)
    assert broken == ["nonsense"]
    assert documents(database_url) == [("plant", "# Pump\n\nOil it.")]
    assert waiting(kafka_servers, database_url) == ""
