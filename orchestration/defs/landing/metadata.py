"""What a landing reports to Dagster: numbers that plot over time, and the ranges behind them.

Add a number here when it should plot in the web UI. Avoid computing: reports have the values.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg

from orchestration.ingest.contracts import SYSTEM_COLUMNS, TopicContract
from orchestration.ingest.contracts.physical_types import PHYSICAL_TYPES

if TYPE_CHECKING:
    from orchestration.ingest.landing_report import LandingReport
    from orchestration.ingest.ledger_check import LedgerReport
    from orchestration.ingest.topic_health import TopicHealth


def column_schema(contract: TopicContract) -> dg.TableSchema:
    """Columns of the raw table, for the web UI."""
    system = [dg.TableColumn(c.name, c.postgres, c.description) for c in SYSTEM_COLUMNS]
    fields = [
        dg.TableColumn(
            field.name,
            PHYSICAL_TYPES[field.physical_type].postgres,
            f"{field.description} [{field.unit}]" if field.unit else field.description,
            dg.TableColumnConstraints(nullable=not field.is_required),
        )
        for field in contract.fields
    ]
    return dg.TableSchema([*system, *fields])


def landing_metadata(report: "LandingReport", database_url: str) -> dict[str, Any]:
    """Metadata of one materialization of a raw table."""
    counts = report.counts
    ranges = [
        f"| {item.partition.partition} | {item.offsets.lo:,} | {item.offsets.hi:,} | {item.counts.landed:,} |"
        for item in report.partitions
    ]
    table = "\n".join(["| partition | from | to | landed |", "|---|---|---|---|", *ranges])
    return {
        "dagster/row_count": _table_rows(database_url, report.topic),
        "rows_landed": counts.landed,
        "dead_lettered": counts.dead_lettered,
        "discarded": counts.discarded,
        "tombstones": counts.tombstones,
        "absent": counts.absent,
        "discarded_values": counts.discarded_values,
        "lag": report.lag,
        "messages_per_s": counts.span / report.seconds if report.seconds else 0.0,
        "offsets": dg.MetadataValue.md(table),
        "first_batch_id": min(report.batch_ids, default=0),
        "last_batch_id": max(report.batch_ids, default=0),
        "landed_by": report.landed_by,
        "findings": dg.MetadataValue.md("\n".join(report.findings) or "none"),
    }


def _table_rows(database_url: str, topic: str) -> int:
    """Rows of the raw table by the ledger, which the blocking check compares with the table itself."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "select coalesce(sum(landed), 0)::bigint from ops.landing_ledger "
            "where topic = %s and retired_at is null",
            (topic,),
        ).fetchone()
    return int(row[0]) if row else 0


def ledger_metadata(report: "LedgerReport") -> dict[str, Any]:
    """Metadata of one check of the ledger."""
    counts = report.counts
    faults = "\n".join(f"- {fault.severity}: {fault}" for fault in report.faults)
    return {
        "landed": counts.landed,
        "raw_rows": sum(item.raw_rows for item in report.balances),
        "lake_rows": sum(item.lake_rows or 0 for item in report.balances),
        "dead_lettered": counts.dead_lettered,
        "pending": sum(item.pending or 0 for item in report.balances),
        "faults": dg.MetadataValue.md(faults or "none"),
    }


def health_metadata(found: "Sequence[TopicHealth]") -> dict[str, Any]:
    """Metadata of one look at a topic: the worst tenant's numbers plot, every tenant has its line."""
    lines = [
        f"| {item.tenant_id} | {_volume(item)} | {item.keys} | {', '.join(item.new_keys) or 'none'} "
        f"| {', '.join(item.silent_keys) or 'none'} | {item.lateness.p50_s:.0f} / "
        f"{item.lateness.p95_s:.0f} / {item.lateness.p99_s:.0f} / {item.lateness.max_s:.0f} "
        f"| {'; '.join(map(str, item.changed_fields)) or 'as before'} |"
        for item in found
    ]
    head = [
        "| tenant | rows in the last hour | keys | new | silent | lateness p50/p95/p99/max in s | fields |",
        "|---" * 7 + "|",
    ]
    return {
        "tenants": dg.MetadataValue.md("\n".join([*head, *lines])),
        "lateness_p95_s": max((item.lateness.p95_s for item in found), default=0.0),
        "lateness_max_s": max((item.lateness.max_s for item in found), default=0.0),
        "silent_keys": sum(len(item.silent_keys) for item in found),
        "changed_fields": sum(len(item.changed_fields) for item in found),
        "volume_z": max((item.volume.z for item in found if item.volume), key=abs, default=0.0),
    }


def _volume(item: "TopicHealth") -> str:
    if item.volume is None:
        return "no complete hour"
    usual = "too few days to compare" if item.volume.usual is None else f"usually {item.volume.usual:.0f}"
    return f"{item.volume.row_count} ({usual})"
