"""How fast records become messages: the flat Avro writer beside fastavro, and sending to a real broker.

`make bench ONLY=producer`. The broker shares the machine's cores with this process.
"""

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import fastavro

from deployment.embedded import kafka
from deployment.embedded.jars import fetch_jars
from deployment.embedded.service import running
from orchestration.figures import Figure, report
from orchestration.ingest.contracts import latest_schema, load_contracts
from orchestration.ingest.contracts.avro_writer import compile_writer
from orchestration.ingest.producer import RecordProducer
from orchestration.ingest.topics import ensure_topics
from tests.conftest import free_port

TOPIC = "equipment-sensors"
COMMAND = "make bench ONLY=producer"
RECORDS, SENT, ROUNDS = 100_000, 200_000, 3  # 5,000 instants: more than the writer remembers
STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def readings(count: int) -> list[dict[str, Any]]:
    """Readings of 20 machines, a minute apart, with the demo plant's five metrics."""
    return [
        {
            "tenant_id": "demo-plant",
            "equipment_id": f"CNC-A-{101 + number % 20}",
            "event_at": STARTED_AT + timedelta(minutes=number // 20),
            "temperature_c": 60.0 + number % 17 / 3,
            "vibration_mm_s": 2.0 + number % 11 / 7,
            "pressure_bar": 160.0 + number % 7,
            "rotation_rpm": 3000.0 + number % 100,
            "power_kw": 11.0 + number % 5,
        }
        for number in range(count)
    ]


def rate(count: int, work: Callable[[], None]) -> float:
    """Records per second of one round."""
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)


def writer_rates() -> tuple[float, float]:
    """Median records per second of the flat writer and of fastavro, measured in turn."""
    schema, records = latest_schema(TOPIC).schema, readings(RECORDS)
    write, parsed = compile_writer(schema), fastavro.parse_schema(schema)

    def flat() -> None:
        for record in records:
            write(record)

    def general() -> None:
        for record in records:
            buffer = io.BytesIO()
            fastavro.schemaless_writer(buffer, parsed, record, strict_allow_default=True)
            buffer.getvalue()

    rounds = [(rate(RECORDS, flat), rate(RECORDS, general)) for _ in range(ROUNDS)]
    return median(own for own, _ in rounds), median(peer for _, peer in rounds)


@contextmanager
def broker() -> Iterator[str]:
    """A real broker with the contracts' topics, until the block ends."""
    fetch_jars()
    port, controller_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="opsgraph-bench-") as name:
        data_dir = Path(name) / "kafka"
        kafka.initialise(data_dir, port, controller_port)
        with running(kafka.service(data_dir, port, controller_port), Path(name) / "logs"):
            ensure_topics(f"127.0.0.1:{port}", load_contracts())
            yield f"127.0.0.1:{port}"


def send_rate(servers: str) -> float:
    """Records per second from Python objects to the broker's acknowledgement."""
    known_at, source = STARTED_AT, readings(RECORDS)
    producer = RecordProducer(servers, load_contracts())

    def send() -> None:
        for record in islice(cycle(source), SENT):
            producer.send(TOPIC, record, known_at)
        delivered = producer.flush().delivered
        if delivered % SENT:
            raise RuntimeError(f"{delivered} delivered after rounds of {SENT}")

    return median(rate(SENT, send) for _ in range(3))


def main() -> None:
    """Measure and report."""
    own, peer = writer_rates()
    with broker() as servers:
        sent = send_rate(servers)
    figures = [
        Figure(
            "avro_writer_rate", own, "records/s", "higher",
            peer="fastavro", peer_value=peer, command=COMMAND,
        ),
        # The mission's floor for a plant's events; a replay should be far above it.
        Figure("record_producer_rate", sent, "records/s", "higher", bar=10_000, command=COMMAND),
    ]  # fmt: skip
    report("producer", figures)


if __name__ == "__main__":
    main()
