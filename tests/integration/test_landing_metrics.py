"""Landing on `/metrics`: lag, dead letters and sinks, without a scrape that waits for a service."""

import time
from pathlib import Path

import psycopg
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from psycopg.types.json import Jsonb

from orchestration.api.landing_metrics import LandingCollector, ask
from orchestration.environment import Environment
from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.landing import landed_topics
from orchestration.ingest.producer import RecordProducer
from orchestration.ingest.simulators.clock import PLANT_START
from orchestration.ingest.topics import ensure_topics

pytestmark = pytest.mark.integration
TOPICS = landed_topics(load_contracts())


@pytest.fixture
def settings(
    database_url: str, kafka_servers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Environment:
    """Settings on the session's services."""
    ensure_topics(kafka_servers, load_contracts())
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_servers)
    monkeypatch.setenv("OPSGRAPH_HOME", str(tmp_path))
    return Environment()


def test_what_waits_and_which_sink_is_away_is_on_the_page(settings: Environment) -> None:
    """Forbids an alarm that can't be written: lag per partition, refused messages, a sink that is away."""
    before = sum(ask(settings, TOPICS).lag.values())
    with RecordProducer(settings.kafka_bootstrap_servers, load_contracts()) as producer:
        for number in range(5):
            row = {"tenant_id": "demo-plant", "equipment_id": f"CNC-A-{101 + number}", "status": "idle"}
            producer.send("equipment-status", {**row, "event_at": PLANT_START})
    sinks = {"lake": {"is_open": True, "reason": "away", "since": None, "failures": 3}}
    with psycopg.connect(settings.database_url) as connection:
        connection.execute(
            "insert into ops.lander_states (lander, state) values ('a lander', %s)", (Jsonb(sinks),)
        )
        connection.execute(
            """
            insert into ops.dead_letters (batch_id, topic, topic_id, kafka_partition, kafka_offset,
                error_class, error_message, landed_at)
            values (1, 'raw_logs', gen_random_uuid(), 0, 0, 'x', 'y', now())
            """
        )
    registry = CollectorRegistry()
    registry.register(LandingCollector(settings))

    first = time.monotonic()
    generate_latest(registry)
    assert time.monotonic() - first < 1.0  # the first scrape starts the asking and does not wait for it
    deadline = time.monotonic() + 60
    while 'opsgraph_landing_up{source="kafka"} 1.0' not in (page := generate_latest(registry).decode()):
        assert time.monotonic() < deadline, page
        time.sleep(0.1)

    assert 'opsgraph_landing_sink_open{lander="a lander",sink="lake"} 1.0' in page
    assert 'opsgraph_landing_open_dead_letters{topic="raw_logs"} 1.0' in page
    assert sum(ask(settings, TOPICS).lag.values()) == before + 5
    assert 'opsgraph_landing_lag_messages{partition="0",topic="equipment-status"}' in page


def test_a_database_that_is_away_is_named_and_nothing_raises(
    settings: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids a page that fails when it is needed most."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:1/nothing")
    assert "postgres" in ask(Environment(), TOPICS).failures
