"""Public log sets through real Kafka: what the service finds is what the evaluation measures."""

import gzip
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from orchestration.ingest.heartbeats import is_alive
from orchestration.ingest.logs.detector import LogDetector
from orchestration.ingest.logs.judging import judge_window
from orchestration.ingest.logs.nezha_evaluation import windows_of
from orchestration.ingest.logs.replayed_topic import judge_replayed
from orchestration.ingest.logs.templates import TemplateMiner
from orchestration.ingest.logs.window_service import NAME, TOPIC, WindowService
from orchestration.ingest.producer import MessageProducer
from orchestration.ingest.replay.log_sets import send_log_set
from orchestration.ingest.replay.nezha_files import read_nezha
from tests.conftest import real_data

pytestmark = pytest.mark.integration
SLICE_MINUTES = 25


def _slice_of_nezha(to: Path) -> Path:
    """The first minutes of the day in a folder of the same form."""
    day = sorted(real_data("nezha").iterdir())[0]
    lines = gzip.decompress((day / "logs.jsonl.gz").read_bytes()).splitlines()
    times = [json.loads(line)["ts"][:19] for line in lines]
    last = datetime.fromisoformat(min(times)) + timedelta(minutes=SLICE_MINUTES)
    kept = [line for line, at in zip(lines, times, strict=True) if datetime.fromisoformat(at) < last]
    (to / "logs.jsonl").write_bytes(b"\n".join(kept))
    (to / "metric").mkdir()
    for path in (day / "metric").glob("*.csv.gz"):
        head, *rows = gzip.decompress(path.read_bytes()).decode().splitlines()
        place = head.split(",").index("Time")
        early = [row for row in rows if row.split(",")[place][:19] < str(last)]
        (to / "metric" / path.name.removesuffix(".gz")).write_text("\n".join([head, *early]))
    faults = next(path for path in day.iterdir() if path.name.startswith("faults.json"))
    raw = faults.read_bytes()
    (to / "faults.json").write_bytes(gzip.decompress(raw) if faults.suffix == ".gz" else raw)
    return to


def _signals(database_url: str, tenant: str) -> set[tuple[str, str, datetime, float]]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "select kind, subject, observed_at, round(score::numeric, 3)::float8 from ops.signals "
            "where tenant_id = %s",
            (tenant,),
        ).fetchall()
    return {(kind, subject, at.astimezone(UTC), score) for kind, subject, at, score in rows}


def test_the_service_finds_what_the_evaluation_finds(
    fresh_topic: str, database_url: str, tmp_path: Path
) -> None:
    """Forbids figures of a detector that is not the one that runs: looks, metrics and memory are the same."""
    folder = _slice_of_nezha(tmp_path)
    day, detector = read_nezha(folder), LogDetector()
    expected = {
        (one.kind.value, one.subject, one.observed_at, round(one.score, 3))
        for window in windows_of(day, TemplateMiner())
        for verdict in judge_window(detector, window)
        if verdict.is_alert
        for one in verdict.signals("nezha", verdict.judged_at, {})
    }

    sent = send_log_set("nezha", folder, fresh_topic, "nezha")
    found = judge_replayed(database_url, fresh_topic, "nezha")

    assert sent == found.lines == day.lines.height + len(day.metrics)
    assert found.late == 0
    assert expected, "the slice holds faults"
    assert any(at.second for _, _, at, _ in expected), "a look found one before its minute was over"
    assert _signals(database_url, "nezha") == expected


def test_a_replay_beside_live_lines_is_judged_by_the_service_that_lives(
    fresh_topic: str, database_url: str, tmp_path: Path
) -> None:
    """Forbids a replay of the past whose lines are all late, since another tenant's lines are of today."""
    service = WindowService(database_url, fresh_topic)
    follower = threading.Thread(target=service.follow)
    follower.start()
    try:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not is_alive(connection, NAME):
                time.sleep(0.05)
        live = {"tenant_id": "live", "event_at": datetime.now(UTC).isoformat(), "level": "INFO",
                "source": "a", "message": "ready"}  # fmt: skip
        producer = MessageProducer(fresh_topic)
        producer.send(TOPIC, b"a", json.dumps(live).encode())
        producer.flush()
        events = ["Receiving <*>", "Served <*>"]
        sessions = [
            json.dumps({"block_id": f"blk_{n}", "split": "train", "label": 0, "events": events})
            for n in range(3_000)
        ]
        (tmp_path / "sessions.jsonl").write_text("\n".join(sessions))

        sent = send_log_set("hdfs-sessions", tmp_path, fresh_topic, "hdfs")
        found = judge_replayed(database_url, fresh_topic, "hdfs")
    finally:
        service.stop()
        follower.join()

    # 3,000 sessions at 50 ms are 2 min 30 s.
    assert (sent, found.lines, found.late, found.windows_closed) == (6_000, 6_000, 0, 3)
    with psycopg.connect(database_url) as connection:
        assert not is_alive(connection, NAME), "who stops in an orderly way is not missed"
