"""Quotas: whose partitions wait, how long, and that a run's limits share out evenly."""

import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa

from orchestration.ingest.batch import Batch
from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.ledger import Counts
from orchestration.ingest.offsets import PartitionId, Plan, Range
from orchestration.ingest.quotas import Debts
from orchestration.ingest.run_limits import RunLimits, SizeGate

TOPIC_ID = uuid.UUID(int=1)
CONTRACT = load_contracts()["equipment-sensors"]


def partition(number: int) -> PartitionId:
    """A partition of one topic."""
    return PartitionId("equipment-sensors", TOPIC_ID, number)


def batch(number: int, **rows: int) -> Batch:
    """A committed batch with so many rows of each tenant; underscores stand for hyphens."""
    tenants = [name.replace("_", "-") for name, count in rows.items() for _ in range(count)]
    record = pa.RecordBatch.from_pydict({"tenant_id": pa.array(tenants, pa.string())})
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Batch(CONTRACT, partition(number), 1, Range(0, len(tenants)), at, record, Counts(len(tenants)))


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_a_debt_holds_its_own_partitions_until_it_is_paid() -> None:
    """Forbids a quota that stops everybody, or that lets a tenant's average pass its rate.

    500 rows at 100/s cost 5 s; one second of them may come at once, so 4 s are left to wait.
    """
    clock = Clock()
    debts = Debts(lambda: {"demo-plant": 100.0}, clock)
    assert debts.waiting() == frozenset()
    debts.add([batch(0, demo_plant=500), batch(1, other=5_000)])
    assert debts.waiting() == {partition(0)}
    clock.now += 3.9
    assert debts.waiting() == {partition(0)}
    clock.now += 0.2
    assert debts.waiting() == frozenset()


def test_debts_add_up_over_batches_and_partitions() -> None:
    """Forbids a tenant that gets round its quota by many small batches or by many partitions."""
    clock = Clock()
    debts = Debts(lambda: {"demo-plant": 100.0}, clock)
    debts.waiting()
    for number in range(4):
        debts.add([batch(number, demo_plant=100)])  # 4 s of quota in no time
    assert debts.waiting() == {partition(number) for number in range(4)}
    clock.now += 3.1
    assert debts.waiting() == frozenset()


def test_a_quota_that_was_taken_away_lets_go_at_once() -> None:
    """Forbids partitions that stay paused for a debt under a quota that is no more."""
    clock, rates = Clock(), {"demo-plant": 0.001}
    debts = Debts(lambda: dict(rates), clock)
    debts.waiting()
    debts.add([batch(0, demo_plant=100)])
    assert debts.waiting() == {partition(0)}
    rates.clear()
    clock.now += 6
    assert debts.waiting() == frozenset()


def test_what_was_lost_to_retention_stays_in_a_capped_plan() -> None:
    """Forbids a limit that forgets findings, or that gives one partition everything."""
    pending = {partition(0): Range(0, 100), partition(1): Range(50, 60), partition(2): Range(7, 7)}
    plan = Plan(pending, {partition(0): Range(0, 0)})
    capped = RunLimits(messages=50).capped(plan)
    assert {item.partition: len(span) for item, span in capped.pending.items()} == {0: 40, 1: 10, 2: 0}
    assert capped.lost == plan.lost
    assert RunLimits().capped(plan) is plan


def test_a_run_ends_when_it_has_landed_enough_bytes() -> None:
    """Forbids a limit of bytes that is never reached."""
    stop = threading.Event()
    gate = SizeGate(RunLimits(size=1_000), stop)
    gate.add([replace(batch(0, demo_plant=10))])  # 10 names of 10 bytes and their offsets: some 150 bytes
    assert not stop.is_set()
    gate.add([batch(0, demo_plant=100)])
    assert stop.is_set()
