"""Windows, templates, open lines and the detector's memory in Postgres.

Every function works in the caller's transaction, so that they move with the consumer's position. Add a
query of the `logs` schema here. Avoid deciding what to write: `window_service` does.
"""

import io
import json
import pickle
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import psycopg

from orchestration.ingest.logs.detector import LogDetector
from orchestration.ingest.logs.evidence import Verdict
from orchestration.ingest.logs.messages import RefusedLine
from orchestration.ingest.logs.spike_rule import is_spike
from orchestration.ingest.logs.templates import Template, TemplateMiner, parameters
from orchestration.ingest.offsets import PartitionId
from orchestration.ingest.windows import Window, response_quantile_ms

CONSUMER = "log-windows"
FORM_VERSION = 2
"""Raised whenever the detector's classes change: an older state is not read, the detector warms up again."""
OPEN_COLUMNS = (
    "source", "statement", "level", "message", "event_at", "trace_id", "span_id", "response_time_ms",
    "metrics",
)  # fmt: skip
Connection = psycopg.Connection[Any]


class PositionMovedError(RuntimeError):
    """Another service moved a partition's position; nothing of this batch was kept."""


@dataclass(frozen=True)
class Memory:
    """What the service remembers of a tenant between windows."""

    detector: LogDetector
    miner: TemplateMiner


def positions(connection: Connection, topic: str) -> dict[PartitionId, int]:
    """Next offset of each partition that was ever counted, by topic id."""
    rows = connection.execute(
        "select topic_id, kafka_partition, next_offset from ops.consumer_offsets "
        "where consumer = %s and topic = %s",
        (CONSUMER, topic),
    )
    return {PartitionId(topic, topic_id, partition): offset for topic_id, partition, offset in rows}


def move_position(connection: Connection, partition: PartitionId, lo: int, hi: int) -> None:
    """Move a position over `[lo, hi)`.

    Raises:
        PositionMovedError: It no longer stands at `lo`.
    """
    if lo == 0 or not _update(connection, partition, lo, hi):
        inserted = connection.execute(
            "insert into ops.consumer_offsets (consumer, topic, topic_id, kafka_partition, next_offset) "
            "values (%s, %s, %s, %s, %s) on conflict do nothing",
            (CONSUMER, partition.topic, partition.topic_id, partition.partition, hi),
        ).rowcount
        if not inserted and not _update(connection, partition, lo, hi):
            raise PositionMovedError(
                f"{partition}: offsets {lo} to {hi} were not counted: the position is no longer {lo}, "
                "another `opsgraph lines windows` moved it. Nothing is lost; let one of them run."
            )


def _update(connection: Connection, partition: PartitionId, lo: int, hi: int) -> bool:
    return bool(
        connection.execute(
            "update ops.consumer_offsets set next_offset = %s, updated_at = now() "
            "where consumer = %s and topic_id = %s and kafka_partition = %s and next_offset = %s",
            (hi, CONSUMER, partition.topic_id, partition.partition, lo),
        ).rowcount
    )


def add_windows(connection: Connection, tenant_id: str, windows: Sequence[Window]) -> None:
    """Add aggregates to their windows; a window that was closed before gets a revision."""
    rows = sorted(windows, key=lambda w: (w.starts_at, w.source))
    connection.execute(
        """
        insert into logs.windows as mine (
            tenant_id, starts_at, source, lines, errors, anomalies, responses, response_sum_ms, response_bins,
            late_lines
        )
        select %s, t.starts_at, t.source, t.lines, t.errors, t.anomalies, t.responses, t.total,
            t.bins::bigint[], t.late_lines
        from unnest(
            %s::timestamptz[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
            %s::double precision[], %s::text[], %s::bigint[]
        ) as t (starts_at, source, lines, errors, anomalies, responses, total, bins, late_lines)
        on conflict (tenant_id, starts_at, source) do update set
            lines = mine.lines + excluded.lines,
            errors = mine.errors + excluded.errors,
            anomalies = mine.anomalies + excluded.anomalies,
            responses = mine.responses + excluded.responses,
            response_sum_ms = mine.response_sum_ms + excluded.response_sum_ms,
            response_bins = logs.add_bins(mine.response_bins, excluded.response_bins),
            late_lines = mine.late_lines + excluded.late_lines,
            revision = mine.revision + (excluded.late_lines > 0)::int
        """,
        (
            tenant_id,
            [w.starts_at for w in rows], [w.source for w in rows], [w.lines for w in rows],
            [w.errors for w in rows], [w.anomalies for w in rows], [w.responses for w in rows],
            [w.response_sum_ms for w in rows],
            ["{" + ",".join(map(str, w.response_bins)) + "}" if w.response_bins else None for w in rows],
            [w.late_lines for w in rows],
        ),
    )  # fmt: skip


def add_statements(connection: Connection, tenant_id: str, lines: pl.DataFrame) -> None:
    """Add counts of statements to their windows."""
    counts = (
        lines.with_columns(starts_at=pl.col("event_at").dt.truncate("1m"))
        .group_by("starts_at", "source", pl.col("statement").fill_null(""))
        .agg(lines=pl.len())
        .sort("starts_at", "source", "statement")
    )
    connection.execute(
        """
        insert into logs.window_templates as mine (tenant_id, starts_at, source, statement, lines)
        select %s, t.* from unnest(%s::timestamptz[], %s::text[], %s::text[], %s::bigint[]) as t
        on conflict (tenant_id, starts_at, source, statement)
        do update set lines = mine.lines + excluded.lines
        """,
        (tenant_id, *(counts[name].to_list() for name in ("starts_at", "source", "statement", "lines"))),
    )


def keep_open(connection: Connection, tenant_id: str, lines: pl.DataFrame) -> list[datetime]:
    """Keep lines until their window is judged; return the windows."""
    starts: list[datetime] = []
    for (starts_at,), part in lines.group_by(pl.col("event_at").dt.truncate("1m").alias("starts_at")):
        assert isinstance(starts_at, datetime)
        buffer = io.BytesIO()
        part.select(OPEN_COLUMNS).write_ipc(buffer, compression="lz4")
        connection.execute(
            "insert into logs.open_lines (tenant_id, starts_at, lines) values (%s, %s, %s)",
            (tenant_id, starts_at, buffer.getvalue()),
        )
        starts.append(starts_at)
    return starts


def take_open(connection: Connection, tenant_id: str, starts_at: datetime) -> pl.DataFrame:
    """The lines of a window, which are removed; empty where another service took them."""
    rows = connection.execute(
        "delete from logs.open_lines where tenant_id = %s and starts_at = %s returning chunk_id, lines",
        (tenant_id, starts_at),
    ).fetchall()
    return _together(rows)


def peek_open(connection: Connection, tenant_id: str, starts_at: datetime) -> pl.DataFrame:
    """The lines of a window so far, which stay."""
    rows = connection.execute(
        "select chunk_id, lines from logs.open_lines where tenant_id = %s and starts_at = %s",
        (tenant_id, starts_at),
    ).fetchall()
    return _together(rows)


def _together(rows: list[tuple[int, bytes]]) -> pl.DataFrame:
    parts = [pl.read_ipc(io.BytesIO(lines)) for _, lines in sorted(rows)]
    if not parts:
        return pl.DataFrame()
    # Diagonal: chunks of an older release have fewer columns.
    return pl.concat(parts, how="diagonal").sort("event_at", maintain_order=True)


def open_windows(connection: Connection, tenant_id: str) -> list[datetime]:
    """Windows whose lines wait to be judged, oldest first."""
    rows = connection.execute(
        "select distinct starts_at from logs.open_lines where tenant_id = %s order by starts_at", (tenant_id,)
    ).fetchall()
    return [starts_at for (starts_at,) in rows]


def tenants_with_open_windows(connection: Connection) -> list[str]:
    """Tenants whose lines wait to be judged."""
    rows = connection.execute("select distinct tenant_id from logs.open_lines order by tenant_id").fetchall()
    return [tenant_id for (tenant_id,) in rows]


def judged_until(connection: Connection, tenant_id: str) -> datetime | None:
    """End of the tenant's newest judged window; None before the first."""
    row = connection.execute(
        "select judged_until from logs.detector_state where tenant_id = %s", (tenant_id,)
    ).fetchone()
    return row[0] if row else None


def close_window(connection: Connection, tenant_id: str, verdict: Verdict) -> None:
    """Mark a window as closed, with its p95, the spike rule's word and the verdict."""
    rows = connection.execute(
        "select source, lines, errors, response_bins from logs.windows "
        "where tenant_id = %s and starts_at = %s",
        (tenant_id, verdict.starts_at),
    ).fetchall()
    spikes = {source: is_spike(lines, errors) for source, lines, errors, _ in rows}
    connection.execute(
        """
        update logs.windows as w
        set closed_at = now(), p95_response_ms = t.p95, is_spike = t.is_spike
        from unnest(%s::text[], %s::double precision[], %s::boolean[]) as t (source, p95, is_spike)
        where w.tenant_id = %s and w.starts_at = %s and w.source = t.source
        """,
        (
            [row[0] for row in rows],
            [response_quantile_ms(row[3] or (), 0.95) for row in rows],
            [spikes[row[0]] for row in rows],
            tenant_id,
            verdict.starts_at,
        ),
    )
    first = verdict.suspects[0] if verdict.suspects else None
    connection.execute(
        """
        insert into logs.verdicts (tenant_id, starts_at, is_alert, is_warm, top_source, top_score, is_spike)
        values (%s, %s, %s, %s, %s, %s, %s)
        on conflict (tenant_id, starts_at) do update set is_alert = excluded.is_alert,
            top_source = excluded.top_source, top_score = excluded.top_score, judged_at = now()
        """,
        (
            tenant_id, verdict.starts_at, verdict.is_alert, verdict.is_warm,
            first.source if first else None, first.score if first else None, any(spikes.values()),
        ),
    )  # fmt: skip


def refuse(connection: Connection, partition: PartitionId, refused: Sequence[RefusedLine]) -> None:
    """Keep refused messages with their reason; `at` is each one's offset."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into logs.refused_lines (topic_id, kafka_partition, kafka_offset, reason, payload) "
            "values (%s, %s, %s, %s, %s) on conflict do nothing",
            [(partition.topic_id, partition.partition, r.at, r.reason, r.payload) for r in refused],
        )


def load_memory(connection: Connection, tenant_id: str) -> Memory:
    """The tenant's templates and detector; new ones where there are none of this form."""
    rows = connection.execute(
        "select template_id, template from logs.templates where tenant_id = %s "
        "order by substr(template_id, 2)::int",
        (tenant_id,),
    ).fetchall()
    found = connection.execute(
        "select state from logs.detector_state where tenant_id = %s and form_version = %s",
        (tenant_id, FORM_VERSION),
    ).fetchone()
    # The table is written by this service alone; whoever can write to it can also replace the code's tables.
    detector = pickle.loads(zlib.decompress(found[0])) if found else LogDetector()  # noqa: S301
    return Memory(detector, TemplateMiner([Template(*row) for row in rows]))


def save_memory(connection: Connection, tenant_id: str, memory: Memory, judged_until: datetime) -> None:
    """Store the detector's state."""
    state = zlib.compress(pickle.dumps(memory.detector), 1)
    connection.execute(
        """
        insert into logs.detector_state
            (tenant_id, form_version, templates_version, judged_until, state)
        values (%s, %s, %s, %s, %s)
        on conflict (tenant_id) do update set form_version = excluded.form_version, saved_at = now(),
            templates_version = excluded.templates_version, judged_until = excluded.judged_until,
            state = excluded.state
        """,
        (tenant_id, FORM_VERSION, memory.miner.version, judged_until, state),
    )


def save_templates(connection: Connection, tenant_id: str, miner: TemplateMiner, lines: pl.DataFrame) -> None:
    """Store the templates that these lines met, with counts and one line's parameters."""
    texts: Mapping[str, str] = {item.template_id: item.text for item in miner.templates}
    met = (
        lines.group_by("statement")
        .agg(
            lines=pl.len(), first=pl.col("event_at").min(), last=pl.col("event_at").max(),
            sample=pl.col("message").first(),
        )
        .filter(pl.col("statement").is_in(list(texts)))
        .sort("statement")
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into logs.templates as mine
                (tenant_id, template_id, template, first_seen_at, last_seen_at, lines, sample_parameters)
            values (%s, %s, %s, %s, %s, %s, %s)
            on conflict (tenant_id, template_id) do update set template = excluded.template,
                lines = mine.lines + excluded.lines, sample_parameters = excluded.sample_parameters,
                first_seen_at = least(mine.first_seen_at, excluded.first_seen_at),
                last_seen_at = greatest(mine.last_seen_at, excluded.last_seen_at)
            """,
            [
                (
                    tenant_id, statement, texts[statement], first, last, count,
                    json.dumps(parameters(texts[statement], sample)),
                )
                for statement, count, first, last, sample in met.iter_rows()
            ],
        )  # fmt: skip
