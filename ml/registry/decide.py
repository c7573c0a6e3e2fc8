"""Decide on challengers, by rule or by a person; and take a promotion back. Each leaves a ledger row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl
import psycopg

from ml.models.horizons import Horizon
from ml.registry.client import ModelRegistry, RegisteredVersion
from ml.registry.gate import absolute_criteria, compare
from ml.registry.promotions import (
    Decision,
    Verdict,
    history,
    is_decided,
    record,
    serving,
    waiting,
)
from ml.registry.rules import PromotionRule


class NothingToDecideError(LookupError):
    """No version waits, or none served before; the message says what there is."""


@dataclass(frozen=True)
class _Judged:
    verdict: Verdict
    reason: str
    evidence: Mapping[str, Any]


def decide(
    connection: psycopg.Connection,
    registry: ModelRegistry,
    challenger: RegisteredVersion,
    horizon: Horizon,
    decided_by: str = "gate",
    rule: PromotionRule | None = None,
) -> Decision | None:
    """Decide on a challenger: the bars first, then the champion on the same rows; write the ledger.

    Returns:
        The decision, or None where the ledger already has one on this version.
    """
    if is_decided(connection, challenger):
        return None
    settings = rule or PromotionRule()
    metrics = registry.metrics(challenger)
    failed = [bar.words for bar in absolute_criteria(metrics, horizon) if not bar.is_held]
    champion = registry.by_alias(challenger.name, "champion", challenger.tenant_id)
    if failed:
        judged = _Judged("kept_champion", "does not pass: " + "; ".join(failed), {})
    else:
        judged = _judge(registry, challenger, champion, settings)
    decision = Decision(
        tenant_id=challenger.tenant_id,
        model_name=challenger.name,
        model_version=challenger.version,
        decision=judged.verdict,
        previous_version=champion.version if champion else None,
        decided_by=decided_by,
        reason=judged.reason,
        data_digest=challenger.data_digest,
        metrics=metrics,
        mode=settings.mode,
        evidence=judged.evidence,
    )
    record(connection, decision)
    if judged.verdict == "promoted":
        # Inside the ledger's transaction: when MLflow cannot be reached, the row is rolled back with it.
        registry.set_champion(challenger.name, challenger.version)
    return decision


def decide_pending(
    connection: psycopg.Connection,
    registry: ModelRegistry,
    tenant_ids: Sequence[str],
    horizons: Sequence[Horizon],
    rule: PromotionRule | None = None,
    drifted: Mapping[tuple[str, str], datetime] | None = None,
) -> list[Decision]:
    """Decide on every tenant's challenger that the ledger has no decision on yet.

    A champion alias that a person moved in MLflow is entered first: the ledger follows the alias.

    Args:
        connection: Of the ledger.
        registry: Where the versions are.
        tenant_ids: Whose challengers.
        horizons: Of which models.
        rule: How to decide.
        drifted: Tenant and model → start of the drift that its challenger was trained for.
    """
    settings = rule or PromotionRule()
    decisions: list[Decision] = []
    for tenant_id in tenant_ids:
        for horizon in horizons:
            found = [follow_alias(connection, registry, tenant_id, horizon.model_name)]
            challenger = registry.by_alias(horizon.model_name, "challenger", tenant_id)
            if challenger:
                since = (drifted or {}).get((tenant_id, horizon.model_name))
                own = settings if since is None else replace(settings, drifted_since=since)
                found.append(decide(connection, registry, challenger, horizon, rule=own))
            decisions += [decision for decision in found if decision]
    return decisions


def follow_alias(
    connection: psycopg.Connection, registry: ModelRegistry, tenant_id: str, model_name: str
) -> Decision | None:
    """Enter a champion alias that was set in MLflow by hand; None where ledger and alias agree."""
    champion = registry.by_alias(model_name, "champion", tenant_id)
    served = _served(connection, tenant_id, model_name)
    if champion is None or champion.version == served:
        return None
    return _enter(
        connection, registry, champion, "promoted", served, "mlflow", "the champion alias was set in MLflow"
    )


def approve(
    connection: psycopg.Connection,
    registry: ModelRegistry,
    tenant_id: str,
    model_name: str,
    decided_by: str,
    reason: str,
    version: str | None = None,
) -> Decision:
    """Promote the version that waits, or a named one.

    Raises:
        NothingToDecideError: Nothing waits and no version is named, or it serves already.
    """
    chosen = _chosen(connection, registry, tenant_id, model_name, version)
    served = _served(connection, tenant_id, model_name)
    if chosen.version == served:
        raise NothingToDecideError(f"{model_name} {chosen.version} serves {tenant_id} already.")
    decision = _enter(connection, registry, chosen, "promoted", served, decided_by, reason, mode="MANUAL")
    registry.set_champion(model_name, chosen.version)
    return decision


def reject(
    connection: psycopg.Connection,
    registry: ModelRegistry,
    tenant_id: str,
    model_name: str,
    decided_by: str,
    reason: str,
) -> Decision:
    """Turn down the version that waits; the champion stays.

    Raises:
        NothingToDecideError: Nothing waits.
    """
    chosen = _chosen(connection, registry, tenant_id, model_name, None)
    served = _served(connection, tenant_id, model_name)
    return _enter(connection, registry, chosen, "rejected", served, decided_by, reason, mode="MANUAL")


def roll_back(
    connection: psycopg.Connection,
    registry: ModelRegistry,
    tenant_id: str,
    model_name: str,
    decided_by: str,
    reason: str,
) -> Decision:
    """Let the version before the champion serve again: ledger row and alias in one call.

    Raises:
        NothingToDecideError: Nothing serves, or nothing served before it.
    """
    served = _served(connection, tenant_id, model_name)
    rows = history(connection, tenant_id, model_name, limit=1000)
    current = next((row for row in rows if row.served_from is not None and row.served_to is None), None)
    if served is None or current is None or current.previous_version is None:
        raise NothingToDecideError(
            f"{model_name} of tenant {tenant_id} has no version that served before "
            f"{served or 'anything'}; `opsgraph promote history` lists what there is."
        )
    back = registry.version(model_name, current.previous_version)
    # What the version before replaced, so that a second rollback goes one further back and not to and fro.
    before = next((row.previous_version for row in rows if _opened(row, back.version)), None)
    decision = _enter(
        connection, registry, back, "rolled_back", before, decided_by, f"from {served}: {reason}"
    )
    registry.set_champion(model_name, back.version)
    return decision


def _opened(row: Any, version: str) -> bool:
    return row.model_version == version and row.decision == "promoted"


def _judge(
    registry: ModelRegistry,
    challenger: RegisteredVersion,
    champion: RegisteredVersion | None,
    rule: PromotionRule,
) -> _Judged:
    won: Verdict = "promoted" if rule.mode == "MANAGED" else "waiting"
    if champion is None:
        return _Judged(won, "first version that passes the gate" + _asks(won), {})
    since_champion = _data_distance(challenger, champion)
    if since_champion is not None and since_champion < rule.cool_down.total_seconds() / 3600:
        return _Judged(
            "kept_champion",
            f"cool-down: its data end {since_champion:.0f} h from those of champion {champion.version}, "
            f"{rule.cool_down.total_seconds() / 3600:.0f} h are needed",
            {},
        )
    new, old = registry.out_of_fold(challenger), registry.out_of_fold(champion)
    comparison = compare(new, old, rule.look_back)
    evidence: dict[str, Any] = {"champion": champion.version, "all": comparison.to_json()}
    is_won, words = comparison.is_won, str(comparison)
    if rule.drifted_since is not None:
        is_won, words = _on_drift(new, old, rule.drifted_since, evidence)
    if not is_won:
        return _Judged("kept_champion", f"does not beat champion {champion.version}: {words}", evidence)
    return _Judged(won, f"beats champion {champion.version}: {words}" + _asks(won), evidence)


def _on_drift(
    new: pl.DataFrame, old: pl.DataFrame, since: datetime, evidence: dict[str, Any]
) -> tuple[bool, str]:
    is_drifted = pl.col("hour_at") >= since
    drifted = compare(new.filter(is_drifted), old)
    elsewhere = compare(new.filter(~is_drifted), old)
    evidence |= {"drifted": drifted.to_json(), "elsewhere": elsewhere.to_json()}
    is_won = drifted.is_won and not elsewhere.is_lost
    return is_won, f"since the drift: {drifted}; before it: {elsewhere}"


def _asks(verdict: Verdict) -> str:
    return "; waits for `opsgraph promote approve`" if verdict == "waiting" else ""


def _data_distance(challenger: RegisteredVersion, champion: RegisteredVersion) -> float | None:
    ends = [version.tags.get("data_ends_at") for version in (challenger, champion)]
    if not all(ends):
        return None
    new, old = (datetime.fromisoformat(str(end)) for end in ends)
    return abs((new - old).total_seconds()) / 3600


def _served(connection: psycopg.Connection, tenant_id: str, model_name: str) -> str | None:
    return next(
        (
            row.model_version
            for row in serving(connection)
            if (row.tenant_id, row.model_name) == (tenant_id, model_name)
        ),
        None,
    )


def _chosen(
    connection: psycopg.Connection,
    registry: ModelRegistry,
    tenant_id: str,
    model_name: str,
    version: str | None,
) -> RegisteredVersion:
    if version is None:
        pending = [
            row for row in waiting(connection) if (row.tenant_id, row.model_name) == (tenant_id, model_name)
        ]
        if not pending:
            raise NothingToDecideError(
                f"No version of {model_name} waits for tenant {tenant_id}. "
                "`opsgraph promote history` lists the decisions; --version names one."
            )
        version = pending[0].model_version
    found = registry.version(model_name, version)
    if found.tenant_id != tenant_id:
        raise NothingToDecideError(
            f"{model_name} {version} belongs to tenant {found.tenant_id}, not {tenant_id}; nothing changed."
        )
    return found


def _enter(
    connection: psycopg.Connection,
    registry: ModelRegistry,
    version: RegisteredVersion,
    verdict: Verdict,
    previous: str | None,
    decided_by: str,
    reason: str,
    mode: Any = "MANAGED",
) -> Decision:
    decision = Decision(
        tenant_id=version.tenant_id,
        model_name=version.name,
        model_version=version.version,
        decision=verdict,
        previous_version=previous,
        decided_by=decided_by,
        reason=reason,
        data_digest=version.data_digest,
        metrics=registry.metrics(version),
        mode=mode,
    )
    record(connection, decision)
    return decision
