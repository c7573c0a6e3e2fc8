"""Reads a folder in the form of the Nezha data set: traced log lines, pod metrics, injected faults.

`logs.jsonl[.gz]` (ts, pod, trace_id, message), `faults.json` (inject_time, inject_pod, inject_type) and
`metric/*_metric.csv[.gz]`. Add here what that form needs. Avoid judging: `logs.nezha_evaluation` does it.
"""

import gzip
import io
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from orchestration.ingest.logs.evidence import MetricPoint
from orchestration.ingest.logs.lines import with_statements

POD_SUFFIX = r"-[a-z0-9]{6,10}-[a-z0-9]{5}$"
"""What Kubernetes appends to a deployment's name: hash of the replica set, then of the pod."""
METRICS = {"CpuUsage(m)": "cpu_millicores", "MemoryUsage(Mi)": "memory_mib"}


class NezhaFormatError(ValueError):
    """A folder is not of this form; says which file and what was expected."""


@dataclass(frozen=True)
class InjectedFault:
    """One entry of the fault list.

    Attributes:
        at: When it was injected (UTC). The list's own Unix timestamps disagree with it and are not used.
        source: Service of the pod.
        kind: `return`, `exception`, `cpu_contention`, `network_delay` …
    """

    at: datetime
    source: str
    kind: str


@dataclass(frozen=True)
class NezhaDay:
    """One day.

    Attributes:
        lines: `source, statement, level, message, event_at, trace_id, span_id, response_time_ms` by time.
        metrics: Points by time.
        faults: By time.
    """

    lines: pl.DataFrame
    metrics: tuple[MetricPoint, ...]
    faults: tuple[InjectedFault, ...]


def read_nezha(folder: Path) -> NezhaDay:
    """Read one day.

    Raises:
        NezhaFormatError: A file is missing or has other fields.
    """
    return NezhaDay(read_lines(folder), read_metrics(folder), _faults(folder / "faults.json"))


def read_lines(folder: Path) -> pl.DataFrame:
    """The log lines alone, in the columns of `NezhaDay.lines`."""
    raw = _open(folder, "logs.jsonl")
    try:
        table = pl.read_ndjson(io.BytesIO(raw)).select("ts", "pod", "trace_id", "message")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise NezhaFormatError(
            f"{folder}/logs.jsonl: expected JSON lines with ts, pod, trace_id and message: {error}"
        ) from error
    # Nine digits of a second are more than a microsecond column takes: cut before reading.
    instant = pl.col("ts").str.replace(r"Z$", "").str.slice(0, 26)
    level = pl.col("message").str.extract(r"^\S+\s+(TRACE|DEBUG|INFO|WARN|ERROR|FATAL)\b")
    frame = table.select(
        source=pl.col("pod").str.replace(POD_SUFFIX, ""),
        level=level.replace({"WARN": "WARNING", "TRACE": "DEBUG", "FATAL": "CRITICAL"}).fill_null("INFO"),
        message="message",
        event_at=instant.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", time_zone="UTC"),
        trace_id="trace_id",
        span_id=pl.col("message").str.extract(r"SpanID: (\w+)"),
        response_time_ms=pl.lit(None, dtype=pl.Float64),
    )
    return with_statements(frame).sort("event_at", maintain_order=True)


def _open(folder: Path, name: str) -> bytes:
    plain, packed = folder / name, folder / f"{name}.gz"
    if plain.exists():
        return plain.read_bytes()
    if packed.exists():
        return gzip.decompress(packed.read_bytes())
    raise NezhaFormatError(f"{folder}: neither {name} nor {name}.gz is there")


def _faults(path: Path) -> tuple[InjectedFault, ...]:
    try:
        hours: dict[str, list[dict[str, Any]]] = json.loads(_open(path.parent, path.name))
        faults = [
            InjectedFault(
                datetime.fromisoformat(entry["inject_time"]).replace(tzinfo=UTC),
                re.sub(POD_SUFFIX, "", entry["inject_pod"]),
                entry["inject_type"],
            )
            for entries in hours.values()
            for entry in entries
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, NezhaFormatError):
            raise
        raise NezhaFormatError(
            f"{path}: expected lists of inject_time, inject_pod, inject_type by hour ({error})"
        ) from error
    return tuple(sorted(faults, key=lambda fault: fault.at))


def read_metrics(folder: Path) -> tuple[MetricPoint, ...]:
    """Values of the pods' resources by time; none where the folder has no `metric`."""
    points: list[MetricPoint] = []
    for path in sorted(folder.glob("metric/*_metric.csv*")):
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        table = pl.read_csv(raw, infer_schema_length=None)
        source = re.sub(POD_SUFFIX, "", path.name.split("_metric.csv")[0])
        present = {column: name for column, name in METRICS.items() if column in table.columns}
        instants = table["Time"].str.slice(0, 19).str.to_datetime("%Y-%m-%d %H:%M:%S", time_zone="UTC")
        for column, name in present.items():
            values = table[column].cast(pl.Float64, strict=False)
            points.extend(
                MetricPoint(source, name, at, value)
                for at, value in zip(instants, values, strict=True)
                if value is not None and value == value
            )
    return tuple(sorted(points, key=lambda point: (point.at, point.source, point.metric)))
