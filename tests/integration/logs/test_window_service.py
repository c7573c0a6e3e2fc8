"""Log windows on real Kafka and Postgres: counts survive `kill -9`, late and bad lines."""

import json
import multiprocessing
import random
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.logs import window_service
from orchestration.ingest.logs.tenant_windows import TenantWindows
from orchestration.ingest.logs.window_service import WindowService
from orchestration.ingest.producer import MessageProducer
from orchestration.ingest.simulators.logs.config import AnomalyType, load_config
from orchestration.ingest.simulators.logs.lines import LogGenerator
from orchestration.ingest.topics import ensure_topics

pytestmark = pytest.mark.integration
TOPIC = window_service.TOPIC
BEGIN = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
QUIET = replace(load_config(), anomaly_probability=0.0)


def _send(servers: str, payloads: list[bytes]) -> None:
    producer = MessageProducer(servers)
    for payload in payloads:
        producer.send(TOPIC, payload[:8], payload)
    producer.flush()


def _line(at: datetime, source: str = "auth-service", message: str = "ready", **more: object) -> bytes:
    record = {
        "tenant_id": "t",
        "event_at": at.isoformat(),
        "level": "INFO",
        "source": source,
        "message": message,
    }
    return json.dumps({**record, **more}).encode()


def _query(database_url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(sql).fetchall()


def _consume(database_url: str, servers: str) -> None:
    window_service.BATCH_MESSAGES = 300  # many small transactions, so that kills hit all of their moments
    WindowService(database_url, servers).run(until_end=True)


def test_kills_count_no_line_twice_and_lose_none(fresh_topic: str, database_url: str) -> None:
    """Forbids windows, open lines and position that disagree after a crash."""
    minutes, rate = 6, 40
    generator = LogGenerator(QUIET, 3, BEGIN, rate)
    lines = list(generator.lines(minutes * 60 * rate))
    _send(fresh_topic, [line.encode("t") for line in lines])
    moments = random.Random(5)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["orchestration.ingest.logs.window_service"])
    for _ in range(4):
        before = _query(database_url, "select coalesce(sum(next_offset), 0) from ops.consumer_offsets")
        process = context.Process(target=_consume, args=(database_url, fresh_topic))
        process.start()
        deadline = time.monotonic() + 60
        while process.is_alive() and time.monotonic() < deadline:
            if (
                _query(database_url, "select coalesce(sum(next_offset), 0) from ops.consumer_offsets")
                != before
            ):
                break
            time.sleep(0.01)
        process.join(moments.uniform(0.0, 0.2))
        process.kill()
        process.join()

    WindowService(database_url, fresh_topic).run(until_end=True, close_tenant="t")

    # Every minute has 60 s x 40 lines, whatever was killed: expected from the generator's own rate.
    assert _query(
        database_url, "select starts_at, lines from logs.windows where source = '' order by starts_at"
    ) == [(BEGIN + timedelta(minutes=m), 60 * rate) for m in range(minutes)]
    assert _query(database_url, "select sum(lines) from logs.windows where source <> ''") == [(len(lines),)]
    assert _query(database_url, "select sum(lines) from logs.window_templates") == [(len(lines),)]
    assert _query(database_url, "select count(*) from logs.open_lines") == [(0,)]
    assert _query(database_url, "select count(*) from logs.verdicts") == [(minutes,)]


def test_a_late_line_corrects_a_closed_window(fresh_topic: str, database_url: str) -> None:
    """Forbids dropping out-of-order telemetry, or counting it into the wrong minute."""
    _send(fresh_topic, [_line(BEGIN), _line(BEGIN + timedelta(minutes=5))])
    service = WindowService(database_url, fresh_topic)
    service.run(until_end=True)
    _send(fresh_topic, [_line(BEGIN + timedelta(seconds=30), level="ERROR")])

    WindowService(database_url, fresh_topic).run(until_end=True)

    assert _query(
        database_url,
        "select lines, errors, late_lines, revision, closed_at is not null from logs.windows "
        f"where source = '' and starts_at = '{BEGIN.isoformat()}'",
    ) == [(2, 1, 1, 1, True)]


def test_bad_lines_are_refused_or_cleaned_and_stop_nothing(fresh_topic: str, database_url: str) -> None:
    """Forbids a service that one message stops, or that believes a timestamp of 2098."""
    hostile = "x'; drop table logs.windows; --\"{}\\"
    good = [
        _line(BEGIN, hostile),
        _line(BEGIN, message="a\x00b\x1b[31m"),
        _line(BEGIN, message="y" * 1_048_576),
        _line(BEGIN, source="auth\x00service"),
        _line(BEGIN).replace(b'"level"', b'"response_time_ms": 1' + b"0" * 400 + b', "level"'),
    ]
    bad = [
        b"not json", b"", b"[1, 2]", b"\xff\xfe\x00", b"{}",
        _line(datetime(2098, 1, 1, tzinfo=UTC)), _line(datetime(1970, 1, 1, tzinfo=UTC)),
        _line(BEGIN, source=""),
        b'{"tenant_id": "t", "event_at": "yesterday", "source": "a", "message": "b"}',
        b'{"tenant_id": "t"' + b"[" * 20_000,
        _line(BEGIN, tenant_id="a\x00b"), _line(BEGIN, tenant_id="x" * 4_000),
    ]  # fmt: skip
    _send(fresh_topic, [*good, *bad, _line(BEGIN)])

    counts = WindowService(database_url, fresh_topic).run(until_end=True, close_tenant="t")

    assert (counts.lines, counts.refused) == (len(good) + 1, len(bad))
    assert _query(database_url, "select count(*) from logs.refused_lines") == [(len(bad),)]
    assert _query(database_url, "select max(starts_at) from logs.windows") == [(BEGIN,)]
    assert (hostile,) in _query(database_url, "select source from logs.windows")


def test_a_line_that_can_not_be_counted_is_refused_alone(
    fresh_topic: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids a poison line of a kind that no rule foresaw to stop the lines around it for good."""
    count = window_service.TenantWindows.count

    def poisoned(
        self: TenantWindows, connection: object, partition: int, lines: pl.DataFrame, stages: object
    ):
        if "poison" in lines["message"]:
            raise psycopg.DataError("no place for this")
        return count(self, connection, partition, lines, stages)

    monkeypatch.setattr(window_service.TenantWindows, "count", poisoned)
    texts = ["a", "b", "poison", "c", "d"]
    _send(fresh_topic, [_line(BEGIN, message=text) for text in texts])

    counts = WindowService(database_url, fresh_topic).run(until_end=True, close_tenant="t")

    assert (counts.lines, counts.refused, counts.late) == (4, 1, 0)
    assert _query(database_url, "select lines from logs.windows where source = ''") == [(4,)]
    assert _query(database_url, "select reason from logs.refused_lines") == [("can't be counted: DataError",)]


def test_it_goes_on_after_retention_with_new_partitions_and_a_new_topic(
    fresh_topic: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids a position behind the broker's first offset that stops counting, and a topic's parts unread."""
    monkeypatch.setattr(window_service, "BOUNDS_EVERY_S", 0.2)
    admin = AdminClient({"bootstrap.servers": fresh_topic})
    partitions = load_contracts()[TOPIC].partitions
    _send(fresh_topic, [_line(BEGIN)])
    WindowService(database_url, fresh_topic).run(until_end=True)
    ((partition,),) = _query(database_url, "select kafka_partition from ops.consumer_offsets")
    # The first 8 bytes are the key: all lines so far lie in one partition. One is counted, two are lost.
    _send(fresh_topic, [_line(BEGIN), _line(BEGIN), _line(BEGIN)])
    for future in admin.delete_records([TopicPartition(TOPIC, int(str(partition)), 3)]).values():
        future.result(10)
    service = WindowService(database_url, fresh_topic)
    thread = threading.Thread(target=service.follow)
    thread.start()
    try:
        _until(database_url, 2)
        assert service.counts.lost == 2
        admin.create_partitions([NewPartitions(TOPIC, partitions + 1)])[TOPIC].result(10)
        _produce_to(fresh_topic, partitions, _line(BEGIN))
        _until(database_url, 3)
        admin.delete_topics([TOPIC])[TOPIC].result(15)
        _until_gone(admin)
        ensure_topics(fresh_topic, load_contracts())
        _send(fresh_topic, [_line(BEGIN)])
        _until(database_url, 4)
    finally:
        service.stop()
        thread.join(20)


def _until(database_url: str, lines: int) -> None:
    deadline, sql = time.monotonic() + 30, "select sum(lines)::int from logs.windows where source = ''"
    while _query(database_url, sql) != [(lines,)]:
        assert time.monotonic() < deadline, f"{_query(database_url, sql)} instead of {lines} lines"
        time.sleep(0.1)


def _until_gone(admin: AdminClient) -> None:
    deadline = time.monotonic() + 15
    while TOPIC in admin.list_topics(timeout=10).topics and time.monotonic() < deadline:
        time.sleep(0.05)


def _produce_to(servers: str, partition: int, payload: bytes) -> None:
    producer = Producer({"bootstrap.servers": servers, "topic.metadata.refresh.interval.ms": 200})
    deadline = time.monotonic() + 15
    while partition not in producer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    producer.produce(TOPIC, payload, partition=partition)
    assert producer.flush(15) == 0


def test_an_outage_becomes_a_signal_with_its_lines(fresh_topic: str, database_url: str) -> None:
    """Forbids a detector that needs the labels, or a signal that nobody can act on."""
    generator = LogGenerator(QUIET, 11, BEGIN, 20)
    payloads = [line.encode("t", with_truth=False) for line in generator.lines(20 * 60 * 12)]
    generator.inject(AnomalyType.SERVICE_OUTAGE, "payment-service")
    payloads += [line.encode("t", with_truth=False) for line in generator.lines(20 * 60 * 2)]
    _send(fresh_topic, payloads)

    WindowService(database_url, fresh_topic).run(until_end=True, close_tenant="t")

    found = _query(
        database_url,
        "select distinct subject, evidence -> 'sample_lines' ->> 0 from ops.signals "
        "where tenant_id = 't' and kind = 'log_errors'",
    )
    assert {subject for subject, _ in found} == {"payment-service"}
    assert any("503" in str(line) or "refused" in str(line) or "instance" in str(line) for _, line in found)
