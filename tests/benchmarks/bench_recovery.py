"""How fast landed data come back: restored from the lake alone, landed again, moved out of the hot store.

`make bench ONLY=recovery`. Beside each rate stands that of the first landing in the same run, whole: from the
first look at the broker to the lake's last commit. Everything is checked to be equal before and after.
OPSGRAPH_BENCH_MESSAGES makes a run longer or shorter than half a million messages.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from orchestration.figures import Figure, report
from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.landing import land_topic
from orchestration.ingest.ledger_check import check_ledger
from orchestration.ingest.reland import Window, reland
from orchestration.ingest.reland_sources import Source
from orchestration.ingest.restore import restore
from orchestration.ingest.services import LandingServices
from orchestration.ingest.temperature import move_days
from tests.benchmarks.landing_stack import SENSORS, Share, produce, stack

COMMAND = "make bench ONLY=recovery"
MESSAGES = int(os.environ.get("OPSGRAPH_BENCH_MESSAGES", "500000"))
CONTRACTS = load_contracts()
TOTALS = """
    select count(*), sum(kafka_offset), count(distinct batch_id), sum(temperature_c)::numeric(20, 3),
        min(known_at), max(known_at)
    from raw.equipment_sensors
"""


def main() -> None:
    """Measure and report."""
    share = Share()
    with stack() as services:
        produce(services, SENSORS, MESSAGES)
        first = land_topic(SENSORS, services).seconds
        before = _totals(services)
        seconds = {
            "restore_from_lake": _timed(lambda: restore(services, CONTRACTS, [SENSORS], is_replacing=True)),
            "reland_unchanged_from_kafka": _timed(lambda: _again(services, Source.KAFKA)),
            "reland_unchanged_from_lake": _timed(lambda: _again(services, Source.LAKE)),
        }
        assert _totals(services) == before
        _do(services, "truncate raw.equipment_sensors")
        seconds["reland_lost_from_kafka"] = _timed(lambda: _again(services, Source.KAFKA))
        assert _totals(services) == before
        in_a_year = datetime.now(UTC) + timedelta(days=365)
        _do(services, "create schema if not exists intermediate")
        _do(services, "create table intermediate.processed_batches (model_name text, batch_id bigint)")
        seconds["move_to_warm"] = _timed(
            lambda: move_days(services, CONTRACTS, timedelta(days=30), None, is_dry_run=False, now=in_a_year)
        )
        assert _totals(services)[0] == 0
        balance = check_ledger(services, CONTRACTS, [SENSORS])
        assert balance.is_balanced, balance.faults
    figures = [
        Figure(
            f"{name}_rate", MESSAGES / value, "rows/s", "higher", peer="first landing",
            peer_value=MESSAGES / first, command=COMMAND,
        )
        for name, value in seconds.items()
    ]  # fmt: skip
    report("recovery", [*figures, Figure("niced_share", share.niced(), "ratio", "lower", command=COMMAND)])


def _again(services: LandingServices, source: Source) -> None:
    done = reland(services, CONTRACTS, Window(SENSORS, source=source))
    assert done.unchanged + done.restored == MESSAGES, done
    assert not done.unreachable


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _totals(services: LandingServices) -> tuple[Any, ...]:
    with psycopg.connect(services.database_url) as connection:
        row = connection.execute(TOTALS).fetchone()
    assert row is not None
    return row


def _do(services: LandingServices, statement: str) -> None:
    with psycopg.connect(services.database_url) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
