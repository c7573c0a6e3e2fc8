"""A broker, a durable Postgres and a lake for the landing benchmark, and the messages that it lands.

Add here what every figure of `bench_landing` needs. Avoid measuring.
"""

import io
import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path

import fastavro
import psutil
from confluent_kafka import Producer

from deployment.embedded import kafka, postgres
from deployment.embedded.jars import fetch_jars
from deployment.embedded.service import running
from orchestration.ingest.contracts import latest_schema, load_contracts
from orchestration.ingest.contracts.wire import frame_prefix
from orchestration.ingest.services import LandingServices
from orchestration.ingest.topics import ensure_topics
from orchestration.migrations import upgrade
from tests.conftest import free_port

SENSORS, LOGS, PARTITIONS = "equipment-sensors", "raw_logs", 4
DISTINCT = 20_000
STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def readings() -> list[bytes]:
    """Distinct readings of 20 machines with the demo plant's five metrics, 83 bytes each."""
    pinned = latest_schema(SENSORS)
    parsed = fastavro.parse_schema(pinned.schema)
    found: list[bytes] = []
    for number in range(DISTINCT):
        buffer = io.BytesIO()
        reading = {
            "tenant_id": "demo-plant",
            "equipment_id": f"CNC-A-{101 + number % 20}",
            "event_at": STARTED_AT + timedelta(minutes=number // 20),
            "temperature_c": 60.0 + number % 1_017 / 31,
            "vibration_mm_s": None if number % 50 == 0 else 2.0 + number % 511 / 71,  # a sensor drops out
            "pressure_bar": 160.0 + number % 97 / 7,
            "rotation_rpm": 3_000.0 + number % 1_000,
            "power_kw": 11.0 + number % 55 / 9,
        }
        fastavro.schemaless_writer(buffer, parsed, reading)
        found.append(frame_prefix(pinned.schema_id) + buffer.getvalue())
    return found


def log_lines() -> list[bytes]:
    """Distinct log lines of five services, about 180 bytes each."""
    return [
        json.dumps(
            {
                "tenant_id": "demo-plant",
                "event_at": (STARTED_AT + timedelta(milliseconds=number * 37)).isoformat(),
                "level": "INFO" if number % 10 else "WARNING",
                "source": f"service-{number % 5}",
                "message": f"order {number * 7919 % 100_003} took the usual way through line {number % 9}",
                "response_time_ms": number % 900 / 3,
            }
        ).encode()
        for number in range(DISTINCT)
    ]


MESSAGES: Mapping[str, Callable[[], list[bytes]]] = {SENSORS: readings, LOGS: log_lines}


@contextmanager
def stack() -> Iterator[LandingServices]:
    """A broker and a durable Postgres of the benchmark's own."""
    fetch_jars()
    folder = Path(tempfile.mkdtemp(prefix="opsgraph-bench-"))
    folder.chmod(0o755)  # Postgres runs as another user where this is run by root
    kafka_port, controller_port, postgres_port = free_port(), free_port(), free_port()
    try:
        with (
            running(postgres.service(folder / "postgres", postgres_port, fsync=True), folder / "logs"),
            running(kafka.service(folder / "kafka", kafka_port, controller_port), folder / "logs"),
        ):
            postgres.create_databases(postgres_port, ["opsgraph", "lake"])
            url = postgres.server_url(postgres_port, "opsgraph")
            upgrade(url)
            ensure_topics(f"127.0.0.1:{kafka_port}", load_contracts())
            yield LandingServices(
                database_url=url,
                bootstrap_servers=f"127.0.0.1:{kafka_port}",
                lake_url=str(folder / "lake"),
                catalog_uri=postgres.server_url(postgres_port, "lake").replace(
                    "postgresql:", "postgresql+psycopg2:"
                ),
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def produce(services: LandingServices, topic: str, count: int) -> None:
    """Fill the topic's partitions in a process of its own, so that the lander's memory is the lander's."""
    source = multiprocessing.get_context("spawn").Process(
        target=_produce, args=(services.bootstrap_servers, topic, count)
    )
    source.start()
    source.join()
    assert source.exitcode == 0


def _produce(bootstrap_servers: str, topic: str, count: int) -> None:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 20,
            "queue.buffering.max.messages": 500_000,
        }
    )
    partitions = load_contracts()[topic].partitions
    for number, payload in enumerate(islice(cycle(MESSAGES[topic]()), count)):
        while True:
            try:
                producer.produce(topic, value=payload, partition=number % partitions)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(120) == 0


class Share:
    """How much of the machine went to others while something was measured."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def niced(self) -> float:
        """Share of both cores that went to processes of low priority since the start."""
        now = psutil.cpu_times()
        spent = {name: getattr(now, name) - getattr(self._before, name) for name in now._fields}
        return spent["nice"] / max(sum(spent.values()) - spent.get("guest", 0.0), 1e-9)
