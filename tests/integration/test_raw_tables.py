"""Raw tables in real Postgres: day partitions under concurrency, and names that Postgres would refuse."""

import threading
from datetime import date

import psycopg
import pytest

from orchestration.ingest.contracts import ensure_day_partition
from orchestration.ingest.contracts.reserved_words import RESERVED_WORDS

pytestmark = pytest.mark.integration
DAY = date(2026, 1, 5)
INSERT = """
    insert into raw.equipment_sensors (
        batch_id, topic_id, kafka_partition, kafka_offset, known_at, landed_at,
        tenant_id, equipment_id, event_at
    ) values (1, gen_random_uuid(), 0, 0, %(at)s, %(at)s, 'demo-plant', 'CNC-A-101', %(at)s)
"""


def test_a_day_is_a_day_of_utc_whatever_the_session_says(database_url: str) -> None:
    """Forbids bounds that move with the server's time zone: rows around midnight would find no partition."""
    with psycopg.connect(database_url, options="-c timezone=Asia/Tokyo") as connection:
        assert ensure_day_partition(connection, "equipment_sensors", DAY)
        connection.execute(INSERT, {"at": "2026-01-05 00:00:00+00"})
        connection.execute(INSERT, {"at": "2026-01-05 23:59:59.999999+00"})
        with pytest.raises(psycopg.errors.CheckViolation, match="no partition"):
            connection.execute(INSERT, {"at": "2026-01-06 00:00:00+00"})


def test_many_landers_that_need_the_same_day_make_one_partition(database_url: str) -> None:
    """Forbids a lander that dies because another one was a millisecond faster."""
    made: list[bool] = []
    failures: list[Exception] = []
    start = threading.Barrier(6)

    def lander() -> None:
        try:
            with psycopg.connect(database_url) as connection:
                start.wait()
                made.append(ensure_day_partition(connection, "equipment_sensors", DAY))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=lander) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert sorted(made) == [False] * 5 + [True]


def test_a_new_day_waits_for_no_reader_and_no_writer(database_url: str) -> None:
    """Forbids the exclusive lock of `create table … partition of`, which a long query would hold up."""
    with (
        psycopg.connect(database_url) as busy,
        psycopg.connect(database_url, options="-c lock_timeout=500ms") as lander,
    ):
        ensure_day_partition(lander, "equipment_sensors", DAY)
        lander.commit()
        busy.execute("select count(*) from raw.equipment_sensors")
        busy.execute(INSERT, {"at": "2026-01-05 12:00:00+00"})

        # `busy` has read and written in a transaction that is still open.
        assert ensure_day_partition(lander, "equipment_sensors", date(2026, 1, 6))


def test_a_partition_has_the_batch_index(database_url: str) -> None:
    """Forbids partitions that models would have to scan whole to find one batch."""
    with psycopg.connect(database_url) as connection:
        ensure_day_partition(connection, "equipment_sensors", DAY)
        rows = connection.execute(
            "select indexdef from pg_indexes where tablename = 'equipment_sensors_p20260105'"
        ).fetchall()

    (definition,) = [text for (text,) in rows]
    assert definition.endswith("USING brin (batch_id)")


def test_the_reserved_words_are_those_of_the_server(database_url: str) -> None:
    """Forbids a contract that is accepted and then breaks the migration with a syntax error."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select word from pg_get_keywords() where catcode in ('R', 'T')").fetchall()

    assert {word for (word,) in rows} == RESERVED_WORDS
