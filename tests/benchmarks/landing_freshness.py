"""How soon a produced reading is a row: from the produce call to the commit that makes it visible.

`stg_sensor_readings` is a view over the raw table, and a partition's position moves in the transaction
of its rows: as soon as another session sees the position beyond an offset, it sees the row in the view.
The source sends as `opsgraph simulate` does (idempotent, lz4, a linger of 20 ms, which counts), in a
process of its own; it and the looks are joined afterwards, so that measuring costs little.
"""

import multiprocessing
import time

import numpy as np
import psycopg
from confluent_kafka import Producer

from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.landing_service import LandingService
from orchestration.ingest.pipeline import PipelineSettings
from orchestration.ingest.producer import producer_settings
from orchestration.ingest.services import LandingServices
from tests.benchmarks.landing_stack import PARTITIONS, SENSORS, readings

MESSAGES_PER_S, TICK_S = 10_000, 0.005
PER_TICK = int(MESSAGES_PER_S * TICK_S)
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
    before = _positions(connection)
    context = multiprocessing.get_context("spawn")
    calls: multiprocessing.Queue[list[float]] = context.Queue()
    source = context.Process(target=_produce, args=(services.bootstrap_servers, seconds, calls))
    source.start()
    ticks = int((seconds + WARM_UP_S) / TICK_S)
    end = sum(before.values()) + ticks * PER_TICK
    looks: list[tuple[float, dict[int, int]]] = []
    started = time.perf_counter()
    while not looks or sum(looks[-1][1].values()) < end:
        time.sleep(LOOK_EVERY_S)
        looks.append((time.perf_counter(), _positions(connection)))
        assert looks[-1][0] - started < seconds + WARM_UP_S + 60, "the service does not land"
    called = np.array(calls.get(timeout=30))
    source.join()
    times = np.array([at for at, _ in looks])
    found: list[np.ndarray] = []
    for partition in range(PARTITIONS):
        # One idempotent producer: its n-th message of a partition has the n-th offset after the first.
        produced = np.repeat(called, len(range(partition, PER_TICK, PARTITIONS)))
        offsets = before.get(partition, 0) + np.arange(len(produced))
        reached = np.array([positions.get(partition, 0) for _, positions in looks])
        waited = times[np.searchsorted(reached, offsets, "right")] - produced
        found.append(waited[produced - called[0] > WARM_UP_S])
    return np.concatenate(found) * 1000


def _positions(connection: psycopg.Connection) -> dict[int, int]:
    return dict(
        connection.execute(
            "select kafka_partition, next_offset from ops.consumer_offsets where topic = %s", (SENSORS,)
        ).fetchall()
    )


def _produce(bootstrap_servers: str, seconds: float, calls: "multiprocessing.Queue[list[float]]") -> None:
    """Send a few messages every 5 ms; tell when each tick's produce calls began."""
    producer = Producer(producer_settings(bootstrap_servers, MESSAGES_PER_S))
    messages, called = readings(), list[float]()
    started = time.perf_counter()
    for tick in range(int((seconds + WARM_UP_S) / TICK_S)):
        called.append(time.perf_counter())
        for number in range(PER_TICK):
            payload = messages[(tick * PER_TICK + number) % len(messages)]
            producer.produce(SENSORS, payload, partition=number % PARTITIONS)
        producer.poll(0)
        time.sleep(max(0.0, started + (tick + 1) * TICK_S - time.perf_counter()))
    assert producer.flush(30) == 0
    calls.put(called)


def _wait_for_lease(connection: psycopg.Connection) -> None:
    deadline = time.monotonic() + 60
    query = "select 1 from ops.leases where lease = 'landing' and expires_at > now()"
    while connection.execute(query).fetchone() is None:
        assert time.monotonic() < deadline, "the service did not start"
        time.sleep(0.1)
    time.sleep(2.0)  # its consumer and its connections
