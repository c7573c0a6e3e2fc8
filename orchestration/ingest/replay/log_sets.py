"""Sends public log sets to `raw_logs`, in the contract's form: Nezha, Loghub samples, HDFS sessions.

Add a set here by a function that yields records. Avoid judging them.
"""

import heapq
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from orchestration.ingest.logs.loghub_evaluation import LoghubFormatError, read_sample, sample_lines
from orchestration.ingest.logs.session_evaluation import SessionFormatError, read_sessions
from orchestration.ingest.producer import DeliveryError, MessageProducer
from orchestration.ingest.replay.nezha_files import NezhaFormatError, read_lines, read_metrics

TOPIC = "raw_logs"
SESSION_GAP, EVENT_GAP = timedelta(milliseconds=50), timedelta(milliseconds=1)
"""HDFS sessions carry no times: one begins every 50 ms, its events follow 1 ms apart."""
BEGIN = datetime(2008, 11, 9, 20, 35, tzinfo=UTC)


class LogSetError(ValueError):
    """A log set can't be replayed; says what was kept and what to do."""


def _nezha(folder: Path) -> Iterator[dict[str, Any]]:
    lines = (
        {
            "event_at": row["event_at"].isoformat(), "level": row["level"], "source": row["source"],
            "message": row["message"], "trace_id": row["trace_id"],
            "metadata": json.dumps({"span_id": row["span_id"]}),
        }
        for row in read_lines(folder).iter_rows(named=True)
    )  # fmt: skip
    readings = (
        {
            "event_at": point.at.isoformat(), "level": "DEBUG", "source": point.source,
            "message": f"{point.metric} {point.value:g}",
            "metadata": json.dumps({"metrics": {point.metric: point.value}}),
        }
        for point in read_metrics(folder)
    )  # fmt: skip
    # Both by time, as a collector would ship them: the watermark would call one half late.
    return heapq.merge(lines, readings, key=lambda record: datetime.fromisoformat(record["event_at"]))


def _loghub(folder: Path) -> Iterator[dict[str, Any]]:
    lines = sample_lines(read_sample(folder))
    for row in lines.select("event_at", "level", "source", "message").iter_rows(named=True):
        yield {**row, "event_at": row["event_at"].isoformat()}


def _hdfs_sessions(folder: Path) -> Iterator[dict[str, Any]]:
    for number, session in enumerate(read_sessions(folder)):
        begun = BEGIN + number * SESSION_GAP
        for place, event in enumerate(session.events):
            yield {
                "event_at": (begun + place * EVENT_GAP).isoformat(), "level": "INFO", "source": "hdfs",
                "message": event.replace("<*>", session.session_id, 1), "trace_id": session.session_id,
            }  # fmt: skip


SETS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    "nezha": _nezha, "loghub": _loghub, "hdfs-sessions": _hdfs_sessions,
}  # fmt: skip


def send_log_set(name: str, folder: Path, bootstrap_servers: str, tenant_id: str) -> int:
    """Send a set.

    Args:
        name: Key of `SETS`.
        folder: Of the set.
        bootstrap_servers: Of Kafka.
        tenant_id: Owner of the lines; one of its own keeps the set's past apart from the present.

    Returns:
        Lines sent.

    Raises:
        LogSetError: The folder has another form, or Kafka did not take all lines.
    """
    producer = MessageProducer(bootstrap_servers)
    sent = 0
    try:
        for record in SETS[name](folder):
            payload = json.dumps({"tenant_id": tenant_id, **record}, separators=(",", ":")).encode()
            producer.send(TOPIC, record["source"].encode(), payload)
            sent += 1
        producer.flush()
    except (NezhaFormatError, LoghubFormatError, SessionFormatError) as error:
        raise LogSetError(str(error)) from error
    except DeliveryError as error:
        raise LogSetError(f"{error}. Replay again: the windows count every line that arrived.") from error
    return sent
