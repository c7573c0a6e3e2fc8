"""The log generator: shares, lengths and courses of the mission, labels apart, delivery tried three times."""

import json
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from orchestration.ingest.producer import Delivery, DeliveryError
from orchestration.ingest.simulators.logs.config import (
    DEFAULT_CONFIG,
    AnomalyType,
    LogConfigError,
    load_config,
)
from orchestration.ingest.simulators.logs.episodes import begin
from orchestration.ingest.simulators.logs.lines import LogGenerator, LogLine
from orchestration.ingest.simulators.logs.outputs import JsonLinesOutput, KafkaOutput, RotatingFileOutput
from orchestration.ingest.simulators.logs.service import create_app

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = load_config()
QUIET = replace(CONFIG, anomaly_probability=0.0, stray_probability=0.0)
TRUTH = {"is_anomaly", "anomaly_type", "anomaly_score"}


def test_levels_have_the_missions_shares() -> None:
    """Forbids other levels: 70/15/10/4/1 %, within 4 standard deviations of 20,000 draws (1.3 points)."""
    counts = Counter(line.level for line in LogGenerator(QUIET, 1, BEGIN).lines(20_000))

    for level, share in {
        "INFO": 0.70,
        "DEBUG": 0.15,
        "WARNING": 0.10,
        "ERROR": 0.04,
        "CRITICAL": 0.01,
    }.items():
        assert counts[level] / 20_000 == pytest.approx(share, abs=0.013), level


def test_types_have_the_missions_weights() -> None:
    """Forbids other weights: within 4 standard deviations of 4,000 draws (2.7 points)."""
    rng = random.Random(2)
    counts = Counter(begin(CONFIG, rng, CONFIG.sources[0]).type for _ in range(4_000))

    weights = dict(zip(AnomalyType, (0.25, 0.20, 0.15, 0.15, 0.15, 0.10), strict=True))
    for kind, weight in weights.items():
        assert counts[kind] / 4_000 == pytest.approx(weight, abs=0.027), kind


def episode_lines(kind: AnomalyType, seed: int = 3) -> list[LogLine]:
    """All lines of one anomaly."""
    generator = LogGenerator(QUIET, seed, BEGIN)
    generator.inject(kind, "historian")
    return [line for line in generator.lines(3_000) if line.anomaly_type]


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        (AnomalyType.ERROR_SPIKE, 20),
        (AnomalyType.LATENCY_DEGRADATION, 50),
        (AnomalyType.RESOURCE_EXHAUSTION, 20),
        (AnomalyType.SERVICE_OUTAGE, 30),
    ],
)
def test_an_anomaly_lasts_its_lines_in_one_source(kind: AnomalyType, length: int) -> None:
    """Forbids anomalies of another length, or spread over sources."""
    lines = episode_lines(kind)

    assert len(lines) == length
    assert {line.source for line in lines} == {"historian"}


def test_a_resource_runs_out_step_by_step() -> None:
    """Forbids another progression than 70, 80, 90, 99 %."""
    messages = [line.message for line in episode_lines(AnomalyType.RESOURCE_EXHAUSTION)]

    steps = [next(mark for mark in (70, 80, 90, 99) if f"{mark} percent" in text) for text in messages]
    assert steps == sorted(steps)
    assert set(steps) == {70, 80, 90, 99}


def test_latency_grows_to_five_times() -> None:
    """Forbids a degradation that does not degrade: the last tenth is 4.6 to 5 times its usual 25 ms."""
    times = [
        line.response_time_ms or 0.0
        for seed in range(10)
        for line in episode_lines(AnomalyType.LATENCY_DEGRADATION, seed)[-5:]
    ]

    assert 3.5 * 25 < sorted(times)[len(times) // 2] < 6.5 * 25


def test_an_error_spike_goes_from_warning_to_critical() -> None:
    """Forbids levels out of order."""
    levels = [line.level for line in episode_lines(AnomalyType.ERROR_SPIKE)]

    ranks = [("WARNING", "ERROR", "CRITICAL").index(level) for level in levels]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}


def test_labels_stand_apart_and_can_be_left_out() -> None:
    """Forbids truth in a field that a detector reads."""
    line = episode_lines(AnomalyType.DATA_ANOMALY)[0]

    with_truth, without = line.record("t"), line.record("t", with_truth=False)
    assert set(with_truth) - set(without) == TRUTH
    assert "DataAnomaly" not in json.dumps(without)


def test_the_same_seed_writes_the_same_lines() -> None:
    """Forbids runs that can't be repeated."""
    one, two = (list(LogGenerator(CONFIG, 9, BEGIN).lines(500)) for _ in range(2))

    assert one == two


class FailingSender:
    """A producer that fails a number of times."""

    def __init__(self, failures: int) -> None:
        self.failures, self.sent = failures, 0

    def send(self, topic: str, key: bytes | None, payload: bytes | None) -> None:
        """Take one message."""
        self.sent += 1

    def flush(self) -> Delivery:
        """Fail as often as told."""
        if self.failures:
            self.failures -= 1
            raise DeliveryError("the broker is away")
        return Delivery(self.sent, self.sent)


def test_a_batch_is_tried_three_times_two_seconds_apart() -> None:
    """Forbids giving up early, trying for ever, or hammering a broker that is away."""
    pauses: list[float] = []
    output = KafkaOutput(FailingSender(2), "t", pause=pauses.append)
    for line in LogGenerator(QUIET, 1, BEGIN).lines(5):
        output.write(line)

    report = output.flush()

    assert (report.sent, report.delivered, report.retries, pauses) == (5, 5, 2, [2.0, 2.0])
    hopeless = KafkaOutput(FailingSender(3), "t", pause=pauses.append)
    hopeless.write(next(LogGenerator(QUIET, 1, BEGIN).lines(1)))
    with pytest.raises(DeliveryError):
        hopeless.flush()
    assert hopeless.report.delivered == 0


def test_files_get_every_line(tmp_path: Path) -> None:
    """Forbids lines that stay in a buffer."""
    rotating = RotatingFileOutput(tmp_path / "logs" / "plant.log")
    structured = JsonLinesOutput(tmp_path / "plant.jsonl", "t")
    for line in LogGenerator(CONFIG, 1, BEGIN).lines(50):
        rotating.write(line)
        structured.write(line)
    rotating.close()
    structured.close()

    assert len((tmp_path / "logs" / "plant.log").read_text().splitlines()) == 50
    records = [json.loads(row) for row in (tmp_path / "plant.jsonl").read_text().splitlines()]
    assert len(records) == 50 and records[0]["tenant_id"] == "t"


def test_a_wrong_weight_is_said(tmp_path: Path) -> None:
    """Forbids a configuration that is quietly taken for another one."""
    path = tmp_path / "config.yaml"
    path.write_text(
        DEFAULT_CONFIG.read_text().replace("weight: 0.25, response_ms", "weight: 0.95, response_ms")
    )

    with pytest.raises(LogConfigError, match=r"weights of sources add up to 1\.7"):
        load_config(path)


def test_the_service_answers_as_the_mission_wrote_it() -> None:
    """Forbids other paths or answers than those that clients were written against."""
    with TestClient(create_app(QUIET, 1, BEGIN)) as client:
        assert client.get("/api/health").json()["status"] == "healthy"
        assert len(client.post("/api/generate", json={"count": 7}).json()["logs"]) == 7
        begun = client.post(
            "/api/inject-anomaly", json={"anomaly_type": "ServiceOutage", "source": "historian"}
        )
        assert begun.json() == {"anomaly_type": "ServiceOutage", "source": "historian", "lines": 30}
        assert client.post("/api/inject-anomaly", json={"anomaly_type": "X"}).status_code == 422
        missing = client.post("/api/inject-anomaly", json={"anomaly_type": "ErrorSpike", "source": "nobody"})
        assert missing.status_code == 404
        rows = client.get("/api/stream", params={"per_second": 1000, "limit": 3}).text.splitlines()
        assert [json.loads(row)["tenant_id"] for row in rows] == ["demo-plant"] * 3
        with client.websocket_connect("/ws/logs?per_second=1000") as socket:
            assert {"event_at", "message"} <= set(json.loads(socket.receive_text()))


def test_the_written_out_json_is_the_record() -> None:
    """Forbids a hand-written encoding that differs from the record, or breaks on quotes."""
    hostile = LogLine(BEGIN, "INFO", 'a"; drop table x;--\\', "tab\t“quote” \x07", None)

    for line in [*LogGenerator(CONFIG, 4, BEGIN).lines(300), hostile]:
        for with_truth in (True, False):
            encoded = line.encode("t", with_truth=with_truth)
            assert json.loads(encoded) == line.record("t", with_truth=with_truth)
