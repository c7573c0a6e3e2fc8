"""The embedded services answer their own protocols."""

import psycopg
from confluent_kafka.admin import AdminClient


def test_migrated_database_has_the_ledger(database_url: str) -> None:
    """Forbids a migration chain that runs without making its tables."""
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(*) from ops.landing_ledger").fetchone() == (0,)


def test_broker_answers(kafka_servers: str) -> None:
    """Forbids a broker that is up but has no controller."""
    metadata = AdminClient({"bootstrap.servers": kafka_servers}).list_topics(timeout=5)
    assert len(metadata.brokers) == 1
