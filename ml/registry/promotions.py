"""The promotion ledger: which version served whom, from when to when, who decided and why."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row

from ml.registry.client import RegisteredVersion


@dataclass(frozen=True)
class Decision:
    """One row of the ledger.

    Attributes:
        tenant_id: Owner of the version.
        model_name: Registered model.
        model_version: The challenger that was decided on.
        decision: `promoted` or `kept_champion`.
        previous_version: What served until then.
        decided_by: Rule or person.
        reason: In words, with the figures.
        data_digest: Data of the challenger.
        metrics: Its metrics.
    """

    tenant_id: str
    model_name: str
    model_version: str
    decision: Literal["promoted", "kept_champion", "rolled_back"]
    previous_version: str | None
    decided_by: str
    reason: str
    data_digest: str
    metrics: Mapping[str, float]


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
    """Write a decision; a promotion closes the row of the version that served before it."""
    serves = decision.decision != "kept_champion"
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
            data_digest, metrics, served_from
        ) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, case when %s then now() end)
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
            serves,
        ),
    )


def is_decided(connection: psycopg.Connection, version: RegisteredVersion) -> bool:
    """Whether the ledger already has a decision on this version."""
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
