"""The promotion ledger: which version served whom, from when to when, who decided and why.

Only SQL and its rows: the command line and the API read it without waiting for MLflow's import.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from psycopg import sql
from psycopg.rows import class_row

if TYPE_CHECKING:
    from ml.registry.client import RegisteredVersion

Verdict = Literal["promoted", "kept_champion", "waiting", "rejected", "rolled_back"]
Mode = Literal["MANAGED", "MANUAL"]


@dataclass(frozen=True)
class Decision:
    """One row of the ledger to be written.

    Attributes:
        tenant_id: Owner of the version.
        model_name: Registered model.
        model_version: The version that was decided on; of a rollback, the one that serves again.
        decision: What was decided. `waiting` asks for a person.
        previous_version: What served until then.
        decided_by: Rule or person.
        reason: In words, with the figures.
        data_digest: Data of the version.
        metrics: Its metrics.
        mode: Whether the gate or a person decides on this model.
        evidence: The comparison behind the decision.
    """

    tenant_id: str
    model_name: str
    model_version: str
    decision: Verdict
    previous_version: str | None
    decided_by: str
    reason: str
    data_digest: str
    metrics: Mapping[str, float]
    mode: Mode = "MANAGED"
    evidence: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class LedgerRow:
    """One decision as the ledger holds it."""

    tenant_id: str
    model_name: str
    model_version: str
    decision: Verdict
    previous_version: str | None
    decided_by: str
    reason: str
    data_digest: str
    metrics: dict[str, Any]
    mode: Mode
    evidence: dict[str, Any]
    decided_at: datetime
    served_from: datetime | None
    served_to: datetime | None


@dataclass(frozen=True)
class Serving:
    """A version that serves now."""

    tenant_id: str
    model_name: str
    model_version: str
    served_from: datetime
    reason: str
    metrics: dict[str, Any]


def record(connection: psycopg.Connection, decision: Decision) -> None:
    """Write a decision; what serves from now on closes the row of the version before it."""
    serves = decision.decision in ("promoted", "rolled_back")
    # One transaction, also on a connection that commits by itself: the old row ends when the new one begins.
    with connection.transaction():
        if serves:
            connection.execute(
                "update ml.promotions set served_to = now()"
                " where tenant_id = %s and model_name = %s and served_from is not null and served_to is null",
                (decision.tenant_id, decision.model_name),
            )
        connection.execute(
            """
            insert into ml.promotions (
                tenant_id, model_name, model_version, decision, previous_version, decided_by, reason,
                data_digest, metrics, mode, evidence, served_from
            ) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, case when %s then now() end)
            """,
            (
                decision.tenant_id,
                decision.model_name,
                decision.model_version,
                decision.decision,
                decision.previous_version,
                decision.decided_by,
                decision.reason,
                decision.data_digest,
                json.dumps(dict(decision.metrics)),
                decision.mode,
                json.dumps(dict(decision.evidence)),
                serves,
            ),
        )


def is_decided(connection: psycopg.Connection, version: "RegisteredVersion") -> bool:
    """Whether the ledger already has a decision on this version; waiting for a person is one."""
    row = connection.execute(
        "select 1 from ml.promotions where tenant_id = %s and model_name = %s and model_version = %s limit 1",
        (version.tenant_id, version.name, version.version),
    ).fetchone()
    return row is not None


def serving(connection: psycopg.Connection) -> list[Serving]:
    """What serves now, by model and tenant."""
    with connection.cursor(row_factory=class_row(Serving)) as cursor:
        return cursor.execute(
            """
            select tenant_id, model_name, model_version, served_from, reason, metrics from ml.promotions
            where served_from is not null and served_to is null
            order by model_name, tenant_id
            """
        ).fetchall()


def waiting(connection: psycopg.Connection) -> list[LedgerRow]:
    """The newest version of each model and tenant whose last decision is `waiting`."""
    latest = [row for row in _newest_versions(connection) if row.decision == "waiting"]
    return sorted(latest, key=lambda row: (row.model_name, row.tenant_id))


def history(
    connection: psycopg.Connection,
    tenant_id: str | None = None,
    model_name: str | None = None,
    limit: int = 50,
) -> list[LedgerRow]:
    """Decisions, newest first."""
    with connection.cursor(row_factory=class_row(LedgerRow)) as cursor:
        return cursor.execute(
            sql.SQL("""
            select {columns} from ml.promotions
            where (%(tenant)s::text is null or tenant_id = %(tenant)s)
              and (%(model)s::text is null or model_name = %(model)s)
            order by promotion_id desc
            limit %(limit)s
            """).format(columns=_COLUMNS),
            {"tenant": tenant_id, "model": model_name, "limit": limit},
        ).fetchall()


def _newest_versions(connection: psycopg.Connection) -> list[LedgerRow]:
    with connection.cursor(row_factory=class_row(LedgerRow)) as cursor:
        return cursor.execute(
            sql.SQL("""
            select distinct on (tenant_id, model_name) {columns} from ml.promotions
            order by tenant_id, model_name, model_version::bigint desc, promotion_id desc
            """).format(columns=_COLUMNS)
        ).fetchall()


_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, LedgerRow.__dataclass_fields__))
