"""Judges the detector on labelled samples in the form of Loghub: a structured CSV per system.

A line counts as found when its (source, statement) alerts in its window. Windows have as many lines each,
since the samples skip over months. Add a system's columns here. Avoid tuning to a sample.
"""

import gzip
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from orchestration.ingest.logs.detector import ALERT_SCORE, LogDetector
from orchestration.ingest.logs.evidence import WindowLines
from orchestration.ingest.logs.templates import TemplateMiner

LINES_PER_WINDOW = 50
ERROR_LEVELS = ("ERROR", "CRITICAL")
NORMAL = "-"
"""Label of a line that is no alert."""
LEVELS = {"FATAL": "CRITICAL", "SEVERE": "ERROR", "FAILURE": "CRITICAL", "WARN": "WARNING"}


class LoghubFormatError(ValueError):
    """A folder holds no labelled sample; says what was expected."""


@dataclass(frozen=True)
class LoghubResult:
    """Figures by line.

    Attributes:
        recall: Of lines labelled as alerts.
        precision: Of lines that were called alerts.
        f1: Of both.
        lines: Judged lines.
        labelled: Of these, alerts by their label.
    """

    recall: float
    precision: float
    f1: float
    lines: int
    labelled: int


def read_sample(folder: Path) -> pl.DataFrame:
    """`source, level, message, label` of `*_structured.csv[.gz]`, in order.

    Raises:
        LoghubFormatError: No such file, or without Component, Level and Content.
    """
    paths = sorted(folder.glob("*_structured.csv*")) or sorted(folder.glob("*/*_structured.csv*"))
    if len(paths) != 1:
        raise LoghubFormatError(
            f"{folder}: expected one *_structured.csv[.gz], found {len(paths)}: give the folder of one system"
        )
    raw = gzip.decompress(paths[0].read_bytes()) if paths[0].suffix == ".gz" else paths[0].read_bytes()
    table = pl.read_csv(raw, infer_schema=False)
    if missing := {"Component", "Level", "Content"} - set(table.columns):
        raise LoghubFormatError(f"{paths[0]}: columns {', '.join(sorted(missing))} are missing")
    label = pl.col("Label") if "Label" in table.columns else pl.lit(None, dtype=pl.String)
    return table.select(
        source=pl.col("Component").fill_null("unknown"),
        level=pl.col("Level").replace(LEVELS).fill_null("INFO"),
        message=pl.col("Content").fill_null(""),
        label=label,
    )


def sample_lines(sample: pl.DataFrame) -> pl.DataFrame:
    """The sample as lines of even time, `LINES_PER_WINDOW` to a minute, with their templates."""
    begin = datetime(2000, 1, 1, tzinfo=UTC)
    step_us = 60_000_000 // LINES_PER_WINDOW
    lines = sample.with_columns(
        event_at=pl.lit(begin).cast(pl.Datetime("us", "UTC"))
        + pl.duration(microseconds=pl.int_range(pl.len()) * step_us),
        statement=pl.lit(None, dtype=pl.String),
        trace_id=pl.lit(None, dtype=pl.String),
        span_id=pl.lit(None, dtype=pl.String),
        response_time_ms=pl.lit(None, dtype=pl.Float64),
    )
    return TemplateMiner().assign(lines)


def evaluate_loghub(folder: Path) -> LoghubResult:
    """Run the detector from nothing over a labelled sample.

    Raises:
        LoghubFormatError: The sample has no labels.
    """
    sample = read_sample(folder)
    if sample["label"].null_count() == sample.height:
        raise LoghubFormatError(f"{folder}: the sample has no column Label, so there is nothing to judge by")
    lines = sample_lines(sample)
    detector = LogDetector()
    called = 0
    found = 0
    for (starts_at,), part in lines.group_by(
        pl.col("event_at").dt.truncate("1m").alias("starts_at"), maintain_order=True
    ):
        assert isinstance(starts_at, datetime)
        verdict = detector.close(WindowLines(starts_at, starts_at + timedelta(minutes=1), part))
        pairs = [
            (suspect.source, statement)
            for suspect in verdict.suspects
            for item in suspect.evidence
            if item.score >= ALERT_SCORE
            for statement in item.statements
        ]
        suspected = pl.DataFrame(pairs, schema=["source", "statement"], orient="row").cast(pl.String).unique()
        # Where a source's errors as a whole alert, its error lines are what is pointed at.
        noisy = suspected.filter(pl.col("statement") == "<errors>")["source"]
        errors = part.filter(pl.col("source").is_in(noisy.implode()) & pl.col("level").is_in(ERROR_LEVELS))
        hits = pl.concat([part.join(suspected, on=["source", "statement"]), errors]).unique("event_at")
        called += hits.height
        found += hits.filter(pl.col("label") != NORMAL).height
    labelled = lines.filter(pl.col("label") != NORMAL).height
    recall = found / labelled if labelled else 0.0
    precision = found / called if called else 0.0
    f1 = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
    return LoghubResult(recall, precision, f1, lines.height, labelled)
