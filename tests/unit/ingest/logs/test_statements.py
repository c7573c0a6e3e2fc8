"""Lines without traces: bursts, new statements, slow responses and silence, against measured scatter."""

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from orchestration.ingest.logs.detector import LogDetector
from orchestration.ingest.logs.evidence import Verdict, WindowLines
from orchestration.ingest.logs.messages import read_messages
from orchestration.ingest.logs.spike_rule import is_spike, mission_rule
from orchestration.ingest.logs.templates import TemplateMiner
from orchestration.ingest.simulators.logs.config import AnomalyType, load_config
from orchestration.ingest.simulators.logs.lines import LogGenerator

BEGIN = datetime(2026, 1, 1, 8, tzinfo=UTC)
RATE = 10
QUIET = replace(load_config(), anomaly_probability=0.0)


class Plant:
    """A generator and a detector that reads it, minute by minute."""

    def __init__(self, seed: int) -> None:
        self.generator = LogGenerator(QUIET, seed, BEGIN, RATE)
        self.detector, self.miner, self.minute = LogDetector(), TemplateMiner(), 0

    def next_minute(self, kind: AnomalyType | None = None, without: str = "") -> Verdict:
        """A minute, in which a fault may begin in the payment service or a source be dead."""
        if kind:
            self.generator.inject(kind, "payment-service")
        payloads = [line.encode("t", with_truth=False) for line in self.generator.lines(RATE * 60)]
        lines = self.miner.assign(read_messages(payloads, BEGIN + timedelta(days=1)).lines)
        start = BEGIN + self.minute * timedelta(minutes=1)
        self.minute += 1
        kept = lines.filter(pl.col("source") != without)
        return self.detector.close(WindowLines(start, start + timedelta(minutes=1), kept))


@pytest.fixture(scope="module")
def warmed() -> Plant:
    """A plant after eleven quiet minutes; tests take a copy."""
    plant = Plant(5)
    for _ in range(11):
        assert not plant.next_minute().is_alert
    return plant


@pytest.mark.parametrize("kind", list(AnomalyType))
def test_each_type_is_found_in_its_source(kind: AnomalyType, warmed: Plant) -> None:
    """Forbids a type that nobody notices, or that is put on another source."""
    verdict = copy.deepcopy(warmed).next_minute(kind)

    assert verdict.is_alert
    assert verdict.suspects[0].source == "payment-service"
    assert verdict.suspects[0].evidence[0].samples or verdict.suspects[0].evidence[0].numbers


def test_a_dead_source_is_heard(warmed: Plant) -> None:
    """Forbids a detector that only counts what is there."""
    verdict = copy.deepcopy(warmed).next_minute(without="api-gateway")

    assert verdict.is_alert
    assert verdict.suspects[0].source == "api-gateway"


def test_nothing_is_said_before_the_warm_up() -> None:
    """Forbids alarms from a detector that knows nothing yet, and forbids hiding it."""
    verdict = Plant(9).next_minute(AnomalyType.ERROR_SPIKE)

    assert not verdict.is_warm
    assert not verdict.is_alert


def test_the_missions_rule_is_exact() -> None:
    """Forbids a rule that is a little different; the ground truth counts only when asked for."""
    assert is_spike(10_000, 5)
    assert not is_spike(10_000, 4)
    assert not is_spike(10, 1)  # exactly a tenth is not more than a tenth
    assert is_spike(9, 1)
    assert not is_spike(100, 0, anomalies=50)
    assert is_spike(100, 0, anomalies=1, trust_ground_truth=True)


def test_the_rule_names_the_source_with_most_errors() -> None:
    """Forbids a rule that alerts without a name."""
    lines = pl.DataFrame({"source": ["a"] * 6 + ["b"] * 9, "level": ["ERROR"] * 6 + ["CRITICAL"] * 9})

    assert mission_rule(lines) == (("b", 9.0), ("a", 6.0))
