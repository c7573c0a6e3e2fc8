"""How fast Kafka's messages reach Postgres and the lake, beside the loop that people write first.

`make bench ONLY=landing`. One lander process; broker and Postgres share its two cores; fsync and
synchronous commit are on; contract rules, ledger and both sinks are part of the measured time, which
runs from the first look at the broker to the last commit of the lake.
"""

import io
import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path

import fastavro
import psutil
import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition

from deployment.embedded import kafka, postgres
from deployment.embedded.jars import fetch_jars
from deployment.embedded.service import running
from orchestration.figures import Figure, report
from orchestration.ingest.contracts import latest_schema, load_contracts
from orchestration.ingest.contracts.wire import frame_prefix
from orchestration.ingest.landing import land_topic
from orchestration.ingest.landing_report import LandingReport
from orchestration.ingest.ledger import Counts
from orchestration.ingest.ledger_check import check_ledger
from orchestration.ingest.services import LandingServices
from orchestration.ingest.topics import ensure_topics
from orchestration.migrations import upgrade
from tests.conftest import free_port

TOPIC, PARTITIONS = "equipment-sensors", 4
COMMAND = "make bench ONLY=landing"
MESSAGES, WARM_UP, ROUNDS, PEER_MESSAGES, DISTINCT = 1_000_000, 20_000, 3, 100_000, 20_000
STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)
BAR_MESSAGES_PER_S = 250_000


def payloads() -> list[bytes]:
    """Distinct readings of 20 machines with the demo plant's five metrics."""
    pinned = latest_schema(TOPIC)
    parsed = fastavro.parse_schema(pinned.schema)
    found: list[bytes] = []
    for number in range(DISTINCT):
        buffer = io.BytesIO()
        reading = {
            "tenant_id": "demo-plant",
            "equipment_id": f"CNC-A-{101 + number % 20}",
            "event_at": STARTED_AT + timedelta(minutes=number // 20),
            "temperature_c": 60.0 + number % 1_017 / 31,
            "vibration_mm_s": 2.0 + number % 511 / 71,
            "pressure_bar": 160.0 + number % 97 / 7,
            "rotation_rpm": 3_000.0 + number % 1_000,
            "power_kw": 11.0 + number % 55 / 9,
        }
        fastavro.schemaless_writer(buffer, parsed, reading)
        found.append(frame_prefix(pinned.schema_id) + buffer.getvalue())
    return found


@contextmanager
def stack() -> Iterator[LandingServices]:
    """A broker and a durable Postgres of the benchmark's own."""
    fetch_jars()
    folder = Path(tempfile.mkdtemp(prefix="opsgraph-bench-"))
    folder.chmod(0o755)  # Postgres runs as another user where this is run by root
    kafka_port, controller_port, postgres_port = free_port(), free_port(), free_port()
    kafka_dir, postgres_dir = folder / "kafka", folder / "postgres"
    try:
        with (
            running(postgres.service(postgres_dir, postgres_port, fsync=True), folder / "logs"),
            running(kafka.service(kafka_dir, kafka_port, controller_port), folder / "logs"),
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


def produce(services: LandingServices, count: int) -> None:
    """Fill the topic's partitions in a process of its own, so that the lander's memory is the lander's."""
    context = multiprocessing.get_context("spawn")
    source = context.Process(target=_produce, args=(services.bootstrap_servers, count))
    source.start()
    source.join()
    assert source.exitcode == 0


def _produce(bootstrap_servers: str, count: int) -> None:
    messages = payloads()
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 20,
            "queue.buffering.max.messages": 500_000,
        }
    )
    for number, payload in enumerate(islice(cycle(messages), count)):
        while True:
            try:
                producer.produce(TOPIC, value=payload, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(120) == 0


def land(services: LandingServices) -> LandingReport:
    """Land what waits."""
    return land_topic(TOPIC, services, run_id="bench")


def poll_loop_rate(services: LandingServices, count: int) -> float:
    """Messages per second of the usual loop: poll, fastavro, rows of text to COPY, commit per 10,000.

    It has no lake, no contract rules, no ledger, no dead letters and no exactly-once.
    """
    parsed = fastavro.parse_schema(latest_schema(TOPIC).schema)
    columns = [field["name"] for field in latest_schema(TOPIC).schema["fields"]]
    consumer = Consumer({"bootstrap.servers": services.bootstrap_servers, "group.id": "peer"})
    with psycopg.connect(services.database_url) as connection:
        connection.execute("create table public.peer as select * from raw.equipment_sensors limit 0")
        for name in ("batch_id", "topic_id", "kafka_partition", "kafka_offset", "known_at", "landed_at"):
            connection.execute(f"alter table public.peer drop column {name}")
        connection.commit()
        consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
        started, rows, done = time.perf_counter(), [], 0
        while done < count:
            message = consumer.poll(1.0)
            if message is None or message.error():
                continue
            record = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), parsed, None)
            rows.append([record[name] for name in columns])
            done += 1
            if len(rows) == 10_000 or done == count:
                with connection.cursor() as cursor, cursor.copy("copy public.peer from stdin") as copy:
                    for row in rows:
                        copy.write_row(row)
                connection.commit()
                rows = []
        seconds = time.perf_counter() - started
    consumer.close()
    return count / seconds


def main() -> None:
    """Measure and report."""
    contracts = load_contracts()
    rates: list[float] = []
    idle: list[float] = []
    cpu: list[float] = []
    with stack() as services:
        produce(services, WARM_UP)
        land(services)
        for _ in range(ROUNDS):
            produce(services, MESSAGES)
            idle.append(psutil.cpu_times_percent(interval=1.0).idle / 100)
            before = _cpu_seconds()
            landed = land(services)
            cpu.append((_cpu_seconds() - before) / MESSAGES * 1e6)
            assert landed.counts == Counts(landed=MESSAGES)
            rates.append(MESSAGES / landed.seconds)
        peak_mib = _peak_mib()
        balance = check_ledger(services, contracts, [TOPIC])
        assert balance.is_balanced, balance.faults
        lake_rows = sum(item.lake_rows or 0 for item in balance.balances)
        assert lake_rows == WARM_UP + ROUNDS * MESSAGES
        peer = poll_loop_rate(services, PEER_MESSAGES)
    rate = statistics.median(rates)
    report(
        "landing",
        [
            Figure(
                "landing_rate_one_process", rate, "msg/s", "higher", bar=BAR_MESSAGES_PER_S,
                peer="poll + fastavro + text COPY", peer_value=peer, command=COMMAND,
            ),
            Figure("landing_rate_best_round", max(rates), "msg/s", "higher", command=COMMAND),
            Figure("ratio_poll_loop", rate / peer, "ratio", "higher", command=COMMAND),
            Figure("lander_peak_mib", peak_mib, "MiB", "lower", bar=1_024, command=COMMAND),
            Figure("lander_cpu_us_per_message", statistics.median(cpu), "us", "lower", command=COMMAND),
            Figure("idle_share", statistics.median(idle), "share", "higher", command=COMMAND),
        ],
    )  # fmt: skip


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
