"""Reads messages of `raw_logs` into columns; what is not a line is refused with its reason, or cleaned.

Refused lines are kept by the caller, nothing stops. Add a rule here when a bad line gets through. Avoid
windows. Landing judges the same messages by their contract; this reader only needs what detection reads.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from orchestration.ingest.logs.lines import with_statements
from orchestration.ingest.windows import MOST_AHEAD

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
MOST_MESSAGE_CHARACTERS = 8_192
"""Longer texts are cut and flagged: a 1 MiB line would fill the state of its window."""
MOST_SOURCE_CHARACTERS = 200
MOST_TENANT_CHARACTERS = 200
"""Postgres indexes no text above 2.7 kB; a tenant can't be cut, its lines would become another one's."""
MOST_RESPONSE_MS = 1e12
"""32 years: what lies beyond is no response time, and the sums of such values leave the range of a double."""
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SPELLINGS = {
    "WARN": "WARNING", "ERR": "ERROR", "FATAL": "CRITICAL", "SEVERE": "ERROR", "TRACE": "DEBUG",
    "NOTICE": "INFO", "INFORMATION": "INFO", "EMERG": "CRITICAL", "ALERT": "CRITICAL", "CRIT": "CRITICAL",
}  # fmt: skip
CONTROL = r"[\x00-\x08\x0b-\x1f\x7f]"

SCHEMA: dict[str, Any] = {
    "tenant_id": pl.String, "event_at": pl.String, "level": pl.String, "source": pl.String,
    "message": pl.String, "response_time_ms": pl.Float64, "trace_id": pl.String, "metadata": pl.String,
    "is_anomaly": pl.Boolean,
}  # fmt: skip
COLUMNS = (
    "at", "tenant_id", "event_at", "level", "source", "message", "statement", "response_time_ms", "trace_id",
    "span_id", "is_anomaly", "is_cleaned", "metrics",
)  # fmt: skip


@dataclass(frozen=True)
class RefusedLine:
    """A message that is not a line: its place in the batch, why, and its first bytes."""

    at: int
    reason: str
    payload: bytes


@dataclass(frozen=True)
class LogBatch:
    """What a batch of messages holds.

    Attributes:
        lines: `COLUMNS`; `at` is the message's place in the batch, `is_cleaned` whether text was changed,
            `metrics` JSON of a line that carries values of resources.
        refused: The others.
    """

    lines: pl.DataFrame
    refused: tuple[RefusedLine, ...]


def read_messages(payloads: Sequence[bytes | None], arrived_at: datetime) -> LogBatch:
    """Read a batch.

    Args:
        payloads: Message values.
        arrived_at: Newest arrival by the broker's clock: lines far ahead of it are refused.
    """
    table, refused = _parse(payloads)
    text = pl.col("message")
    instant = pl.col("event_at").str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    level = pl.col("level").str.to_uppercase().str.strip_chars().replace(SPELLINGS)
    lines = table.with_columns(
        raw_message=text,
        event_at=instant,
        level=pl.when(level.is_in(LEVELS)).then(level).otherwise(pl.lit("INFO")),
        source=pl.col("source").str.replace_all(CONTROL, " ").str.slice(0, MOST_SOURCE_CHARACTERS),
        message=text.str.slice(0, MOST_MESSAGE_CHARACTERS).str.replace_all(CONTROL, " "),
        response_time_ms=pl.when(pl.col("response_time_ms").is_between(0, MOST_RESPONSE_MS)).then(
            "response_time_ms"
        ),
        trace_id=pl.col("trace_id").str.replace_all(CONTROL, " "),
        span_id=pl.coalesce(
            pl.col("metadata").str.json_path_match("$.span_id"), text.str.extract(r"SpanID: (\w+)")
        ).str.replace_all(CONTROL, " "),
        metrics=pl.when(pl.col("metadata").str.contains('"metrics"', literal=True))
        .then("metadata")
        .str.json_path_match("$.metrics"),
    ).with_columns(
        is_cleaned=pl.col("message") != pl.col("raw_message"),
        metrics=pl.when(pl.col("metrics").str.starts_with("{")).then("metrics"),
    )
    reason = (
        pl.when(pl.col("event_at").is_null())
        .then(pl.lit("event_at is missing or is no instant"))
        .when((pl.col("event_at") < EARLIEST) | (pl.col("event_at") > arrived_at + MOST_AHEAD))
        .then(pl.lit("event_at lies before 2000 or more than 10 minutes ahead of its arrival"))
        .when(pl.col("source").fill_null("").str.strip_chars() == "")
        .then(pl.lit("source is missing"))
        .when(pl.col("message").is_null())
        .then(pl.lit("message is missing"))
        .when(pl.col("tenant_id").fill_null("") == "")
        .then(pl.lit("tenant_id is missing"))
        .when(pl.col("tenant_id").str.contains(CONTROL))
        .then(pl.lit("tenant_id holds a control character"))
        .when(pl.col("tenant_id").str.len_chars() > MOST_TENANT_CHARACTERS)
        .then(pl.lit(f"tenant_id is longer than {MOST_TENANT_CHARACTERS} characters"))
    )
    judged = lines.with_columns(reason=reason)
    bad = judged.filter(pl.col("reason").is_not_null())
    places: list[int] = bad["at"].to_list()
    for at, why in zip(places, bad["reason"].to_list(), strict=True):
        refused.append(RefusedLine(at, str(why), (payloads[at] or b"")[:4_096]))
    kept = with_statements(judged.filter(pl.col("reason").is_null()))
    return LogBatch(kept.select(COLUMNS), tuple(sorted(refused, key=lambda item: item.at)))


def _parse(payloads: Sequence[bytes | None]) -> tuple[pl.DataFrame, list[RefusedLine]]:
    """All at once where every message is one object on one line, else one by one."""
    if payloads and all(p and p[:1] == b"{" and p[-1:] == b"}" and b"\n" not in p for p in payloads):
        try:
            table = pl.read_ndjson(io.BytesIO(b"\n".join(payloads)), schema=SCHEMA)  # pyright: ignore[reportArgumentType]
            if table.height == len(payloads):
                return table.with_row_index("at").with_columns(pl.col("at").cast(pl.Int64)), []
        except (pl.exceptions.PolarsError, OSError):
            pass  # one bad message fails the whole block: the slow way finds out which
    rows: list[dict[str, Any]] = []
    refused: list[RefusedLine] = []
    for at, payload in enumerate(payloads):
        try:
            rows.append({"at": at, **_row(payload)})
        except (ValueError, RecursionError) as error:
            refused.append(RefusedLine(at, str(error).splitlines()[0][:200], (payload or b"")[:4_096]))
    return pl.DataFrame(rows, schema={"at": pl.Int64, **SCHEMA}), refused


def _row(payload: bytes | None) -> dict[str, Any]:
    if not payload:
        raise ValueError("the message is empty")
    found: Any = json.loads(payload.decode("utf-8", errors="replace"))
    if not isinstance(found, dict):
        raise ValueError("the message is not a JSON object")  # noqa: TRY004 - one kind of refusal
    row: dict[str, Any] = {}
    for name, kind in SCHEMA.items():
        value: Any = found.get(name)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if kind == pl.Float64:
            row[name] = _double(value)
        elif kind == pl.Boolean:
            row[name] = value if isinstance(value, bool) else None
        else:
            text = value if isinstance(value, str) or value is None else json.dumps(value)
            # Half of a surrogate pair is legal JSON and no legal UTF-8.
            row[name] = text.encode("utf-8", errors="replace").decode() if text is not None else None
    return row


def _double(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return None
