"""Messages that make the lander itself raise: the topic goes on, and what was refused can be replayed."""

import json
from contextlib import suppress
from typing import Any

import pytest
from landing_plant import LOGS, SENSORS, Plant, log_line, reading

from orchestration.ingest.batch import BatchBuilder
from orchestration.ingest.dead_letters import Selection, replay
from orchestration.ingest.ledger import Counts
from orchestration.ingest.offsets import LandingError

pytestmark = pytest.mark.integration

LONG_OF_2_TO_62 = bytes([0x80] * 8 + [0x80, 0x01])  # zigzag 2^63: the instant lies in the year 148108


def test_instants_beyond_the_calendar_stop_no_topic(plant: Plant) -> None:
    """Forbids a controller with a wrong unit of time that ends the landing of its whole topic."""
    good = [plant.datum(SENSORS, reading(number)) for number in range(100)]
    # tenant_id and equipment_id precede the instant, each with one byte for its length; the prefix has 5
    start = 5 + 1 + len("demo-plant") + 1 + len("CNC-A-101")
    size = 8  # microseconds of 2026 take 8 bytes as a varint
    assert good[50][start + size - 1] < 0x80 <= good[50][start + size - 2]
    bad = good[50][:start] + LONG_OF_2_TO_62 + good[50][start + size :]
    plant.produce(SENSORS, [*good[:50], bad, *good[50:]])

    report = plant.land()

    assert report.counts == Counts(landed=100, dead_lettered=1)
    assert plant.dead_letters() == {50: "EventTimeInFuture"}
    check = plant.check()
    assert check.is_balanced, check.faults
    assert not check.faults


def test_a_fault_that_nobody_foresaw_is_a_dead_letter_and_is_replayed_after_its_fix(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids an unknown fault of the lander that stops a topic, or costs the message for good."""
    original = BatchBuilder._rows

    def failing(self: BatchBuilder, messages: Any, live: Any, known_us: Any) -> tuple[Any, list[Any], int]:
        if any(b"marker" in messages.payloads[index] for index in live):
            raise ZeroDivisionError("a fault of the lander")
        return original(self, messages, live, known_us)

    lines = [log_line(number) for number in range(40)]
    lines[3], lines[31] = log_line(3, message="marker"), log_line(31, message="marker")
    plant.produce(LOGS, [json.dumps(line).encode() for line in lines])
    with monkeypatch.context() as broken:
        broken.setattr(BatchBuilder, "_rows", failing)
        report = plant.land(LOGS)
    assert report.counts == Counts(landed=38, dead_lettered=2)
    assert plant.dead_letters() == {3: "ZeroDivisionError", 31: "ZeroDivisionError"}
    assert plant.check(LOGS).is_balanced

    replayed = replay(plant.services, plant.contracts, Selection(error_class="ZeroDivisionError"))
    plant.land(LOGS)

    assert (replayed.landed, replayed.refused) == (2, ())
    check = plant.check(LOGS)
    assert check.is_balanced, check.faults
    assert check.balances[0].lake_rows == 40


def test_letters_of_a_topic_without_contract_stay_and_say_so(plant: Plant) -> None:
    """Forbids a replay over all topics that fails because one of them is no longer landed."""
    plant.produce(LOGS, [b"not JSON"])
    plant.produce(SENSORS, [b"no prefix"])
    plant.land(LOGS)
    plant.land()
    left = {topic: contract for topic, contract in plant.contracts.items() if topic != plant.topic(LOGS)}
    report = replay(plant.services, left, Selection())
    reasons = dict(report.refused)
    assert report.landed == 0
    assert sorted("has no contract" in reason for reason in reasons.values()) == [False, True]


def test_a_lost_answer_of_the_catalog_costs_no_file(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids deleting files that a snapshot names: a commit can succeed although its caller saw an error."""
    from pyiceberg.table import Table

    original = Table.add_files
    failures: list[int] = []

    def committed_then_lost(self: Table, *arguments: Any, **settings: Any) -> None:
        original(self, *arguments, **settings)
        if not failures:
            failures.append(1)
            raise ConnectionError("the connection ended while the commit was answered")

    plant.produce_readings(400)
    with monkeypatch.context() as broken:
        broken.setattr(Table, "add_files", committed_then_lost)
        with suppress(LandingError):  # raised where the failed flush was the landing's last
            plant.land()
    assert failures == [1]
    plant.produce_readings(40, start=400)
    plant.land()

    rows = [(row["kafka_partition"], row["kafka_offset"]) for row in plant.lake_rows()]
    assert (len(rows), len(set(rows))) == (440, 440)
    check = plant.check()
    assert check.is_balanced, check.faults
    assert not check.faults


def test_a_lake_without_the_table_is_an_error(plant: Plant) -> None:
    """Forbids 'balanced' for a lake that is gone or that another LAKE_URL hides."""
    from orchestration.ingest.lake import Lake

    plant.produce_readings(40)
    plant.land()
    Lake(plant.services.lake_url, plant.services.catalog_uri)._catalog.drop_table(
        ("bronze", plant.contract(SENSORS).table)
    )
    check = plant.check()
    assert not check.is_balanced
    assert {fault.partition.partition for fault in check.faults} == {0, 1, 2, 3}
    assert "no table" in str(check.faults[0])
