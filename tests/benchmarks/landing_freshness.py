"""How soon a produced reading is a row: from the produce call to the commit that makes it visible.

`stg_sensor_readings` is a view over the raw table, and a partition's position moves in the transaction
of its rows: as soon as another session sees the position beyond an offset, it sees the row in the view.
"""

import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np
import psycopg
from confluent_kafka import Message, Producer

from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.landing_service import LandingService
from orchestration.ingest.pipeline import PipelineSettings
from orchestration.ingest.services import LandingServices
from tests.benchmarks.landing_stack import PARTITIONS, SENSORS, readings

MESSAGES_PER_S, TICK_S = 10_000, 0.005
WARM_UP_S = 10.0  # the broker's compiler takes a quarter of a core at first
LOOK_EVERY_S = 0.002


def _serve(services: LandingServices, settings: PipelineSettings) -> None:
    LandingService(services, load_contracts(), [SENSORS], settings=settings).run()


def freshness_ms(services: LandingServices, settings: PipelineSettings, seconds: float) -> np.ndarray:
    """Milliseconds from produce call to visible row, one value per message.

    Args:
        services: Addresses.
        settings: Of the service that lands meanwhile, in a process of its own.
        seconds: How long 10,000 messages/s are produced, after a warm-up.
    """
    lander = multiprocessing.get_context("spawn").Process(target=_serve, args=(services, settings))
    lander.start()
    try:
        with psycopg.connect(services.database_url, autocommit=True) as connection:
            _wait_for_lease(connection)
            return _measure(services, connection, seconds)
    finally:
        lander.terminate()
        lander.join(20)
        lander.kill()


def _measure(services: LandingServices, connection: psycopg.Connection, seconds: float) -> np.ndarray:
    sent: list[deque[tuple[int, float]]] = [deque() for _ in range(PARTITIONS)]
    done = threading.Event()
    source = threading.Thread(target=_produce, args=(services.bootstrap_servers, seconds, sent, done))
    source.start()
    started, found = time.perf_counter(), []
    while not done.is_set() or any(sent):
        time.sleep(LOOK_EVERY_S)
        rows = connection.execute(
            "select kafka_partition, next_offset from ops.consumer_offsets where topic = %s", (SENSORS,)
        ).fetchall()
        now = time.perf_counter()
        assert now - started < seconds + WARM_UP_S + 60, "the service does not land"
        for partition, reached in rows:
            waiting = sent[partition]
            while waiting and waiting[0][0] < reached:
                produced = waiting.popleft()[1]
                if produced - started > WARM_UP_S:
                    found.append(now - produced)
    source.join()
    return np.array(found) * 1000


def _produce(
    bootstrap_servers: str, seconds: float, sent: list[deque[tuple[int, float]]], done: threading.Event
) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 5, "acks": "all"})
    messages = readings()
    per_tick = int(MESSAGES_PER_S * TICK_S)

    def delivered(partition: int, called: float) -> Callable[[object, Message], None]:
        def note(_: object, message: Message) -> None:
            sent[partition].append((int(message.offset() or 0), called))

        return note

    started = time.perf_counter()
    for tick in range(int((seconds + WARM_UP_S) / TICK_S)):
        called = time.perf_counter()
        for number in range(per_tick):
            partition = number % PARTITIONS
            payload = messages[(tick * per_tick + number) % len(messages)]
            producer.produce(SENSORS, payload, partition=partition, on_delivery=delivered(partition, called))
        producer.poll(0)
        time.sleep(max(0.0, started + (tick + 1) * TICK_S - time.perf_counter()))
    producer.flush(30)
    done.set()


def _wait_for_lease(connection: psycopg.Connection) -> None:
    deadline = time.monotonic() + 60
    query = "select 1 from ops.leases where lease = 'landing' and expires_at > now()"
    while connection.execute(query).fetchone() is None:
        assert time.monotonic() < deadline, "the service did not start"
        time.sleep(0.1)
    time.sleep(2.0)  # its consumer and its connections
