"""What the database says about the state of the graph: read by `status` and by the demo's summary.

Add a query here when a person at the terminal needs the answer. Avoid computing metrics: they are
read from where the pipeline wrote them.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

LAYERS = ("raw", "intermediate", "marts", "ml", "rag")


@dataclass(frozen=True)
class MachineAtRisk:
    """One machine's latest prediction for one horizon."""

    equipment_id: str
    horizon_hours: int
    failure_probability: float
    risk_level: str
    recommended_action: str
    contributing_factors: list[str]
    as_of: Any
    model_version: str


@dataclass(frozen=True)
class StoredAnswer:
    """The latest answer to a question, as the copilot stored it."""

    question: str
    status: str
    answer: str
    citations: list[dict[str, Any]]
    next_steps: list[str]
    latency_ms: float


def rows_per_layer(connection: psycopg.Connection) -> dict[str, dict[str, int]]:
    """Row counts of every table (views and partitions left out), by schema and table."""
    tables = connection.execute(
        """
        select n.nspname, c.relname
        from pg_class as c
        inner join pg_namespace as n on c.relnamespace = n.oid
        where n.nspname = any(%s) and c.relkind in ('r', 'p') and not c.relispartition
        order by 1, 2
        """,
        (list(LAYERS),),
    ).fetchall()
    counts: dict[str, dict[str, int]] = {}
    for schema, table in tables:
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
        row = connection.execute(query).fetchone()
        counts.setdefault(schema, {})[table] = int(row[0]) if row else 0
    return counts


def has_produced(connection: psycopg.Connection, source_prefix: str) -> bool:
    """Whether a source whose name begins with the prefix has sent anything yet."""
    row = connection.execute(
        "select exists (select from ops.source_positions where starts_with(source, %s))", (source_prefix,)
    ).fetchone()
    return bool(row and row[0])


def health_rows(connection: psycopg.Connection, tenant_id: str) -> int:
    """Machines of the tenant in `marts.mart_equipment_health`."""
    row = connection.execute(
        "select count(*) from marts.mart_equipment_health where tenant_id = %s", (tenant_id,)
    ).fetchone()
    return int(row[0]) if row else 0


def machines_at_risk(
    connection: psycopg.Connection, tenant_id: str, horizon_hours: int = 24, limit: int = 5
) -> list[MachineAtRisk]:
    """The machines with the highest probability in the tenant's latest batch of predictions."""
    with connection.cursor(row_factory=class_row(MachineAtRisk)) as cursor:
        return cursor.execute(
            """
            select distinct on (failure_probability, equipment_id)
                equipment_id, horizon_hours, failure_probability, risk_level, recommended_action,
                contributing_factors, as_of, model_version
            from ml.failure_predictions
            where tenant_id = %(tenant)s and horizon_hours = %(horizon)s
              and as_of = (
                  select max(as_of) from ml.failure_predictions
                  where tenant_id = %(tenant)s and horizon_hours = %(horizon)s
              )
            order by failure_probability desc, equipment_id asc, predicted_at desc
            limit %(limit)s
            """,
            {"tenant": tenant_id, "horizon": horizon_hours, "limit": limit},
        ).fetchall()


def latest_answers(connection: psycopg.Connection, tenant_id: str, limit: int = 3) -> list[StoredAnswer]:
    """The latest answer to each active question of the tenant's question table."""
    with connection.cursor(row_factory=class_row(StoredAnswer)) as cursor:
        return cursor.execute(
            """
            select distinct on (q.question_id)
                a.question, a.status, a.answer, a.citations, a.latency_ms,
                coalesce(a.receipt -> 'next_steps', '[]') as next_steps
            from rag.questions as q
            inner join rag.answers as a on q.question_id = a.question_id
            where q.tenant_id = %s and q.is_active
            order by q.question_id, a.answered_at desc
            limit %s
            """,
            (tenant_id, limit),
        ).fetchall()


def index_builds(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Which index build each alias names, with its size and state."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select a.alias, a.build_id, b.status, b.document_count, b.chunk_count, b.embedder, a.moved_at
            from rag.index_aliases as a
            inner join rag.index_builds as b on a.build_id = b.build_id
            order by a.alias
            """
        ).fetchall()


def citation_line(citation: dict[str, Any]) -> str:
    """One citation as a line: its number, then the document's section or the table and its instant."""
    where = citation.get("title") or citation.get("table") or citation.get("document_id") or ""
    parts = [
        str(citation[key]) for key in ("section", "version", "as_of", "effective_on") if citation.get(key)
    ]
    return f"[{citation.get('number')}] {where}" + (f" ({', '.join(parts)})" if parts else "")
