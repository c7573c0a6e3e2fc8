"""Rankers as versions in the registry: trained per tenant, judged like every other model, then served.

A champion's JSON is copied to `rag.served_rankers`, so that answering needs no MLflow. Avoid choosing
and fitting here (`rag_assets.rerank.training`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import psycopg
from psycopg.types.json import Jsonb

from ml.registry.client import ModelRegistry, RegisteredVersion, VersionKey
from ml.registry.rules import PromotionRule
from ml.registry.signal_versions import (
    Bar,
    SignalCandidate,
    SignalOutcome,
    decide_signal,
    read_file,
    train_once,
)
from rag_assets.postings import Scores
from rag_assets.rerank.features import NAMES
from rag_assets.rerank.rankers import JudgedCandidates
from rag_assets.rerank.training import (
    SETTINGS,
    NotEnoughQuestionsError,
    data_digest,
    gains,
    paired_bootstrap,
    train_ranker,
)

MODEL_NAME = "ranker"
FILE = "ranker.json"
CODE_VERSION = "features-1"
"""Part of a version's identity: raise it when a feature or a fit changes."""
LESSONS = "lessons"
"""Tag of a version: digest of the questions and documents that it was last trained, or found equal, on."""


def newest(registry: ModelRegistry, tenant_id: str) -> RegisteredVersion | None:
    """A tenant's newest version by this code and these settings, or None."""
    return registry.newest(MODEL_NAME, tenant_id, CODE_VERSION, _settings_digest())


def train_version(
    registry: ModelRegistry,
    tenant_id: str,
    judged: Sequence[JudgedCandidates],
    tags: Mapping[str, str] | None = None,
) -> SignalOutcome:
    """Train a tenant's ranker and register it as challenger; equal questions are not learned twice.

    Args:
        registry: Where versions go.
        tenant_id: Whose questions.
        judged: Candidates of the tenant's judged questions.
        tags: More tags, for example links back to the orchestrator.
    """
    key = VersionKey(MODEL_NAME, tenant_id, data_digest(judged), CODE_VERSION, _settings_digest())
    try:
        return train_once(registry, key, lambda: _candidate(key, judged, tags or {}))
    except NotEnoughQuestionsError as error:
        return SignalOutcome(tenant_id, MODEL_NAME, None, False, {}, (), str(error))


def promote(
    connection: psycopg.Connection[Any],
    registry: ModelRegistry,
    tenant_ids: Sequence[str],
    rule: PromotionRule | None = None,
) -> list[str]:
    """Decide on challengers by the rule of all models, and copy each champion to where search reads it.

    Returns:
        What was decided, in words.
    """
    words: list[str] = []
    for tenant_id in tenant_ids:
        challenger = registry.by_alias(MODEL_NAME, "challenger", tenant_id)
        decision = decide_signal(connection, registry, challenger, rule) if challenger else None
        if decision:
            words.append(f"{tenant_id} {decision.model_version}: {decision.decision}, {decision.reason}")
        champion = registry.by_alias(MODEL_NAME, "champion", tenant_id)
        if champion:
            _serve(connection, champion, json.loads(read_file(registry, champion, FILE)))
    return words


def _serve(
    connection: psycopg.Connection[Any], champion: RegisteredVersion, content: Mapping[str, Any]
) -> None:
    connection.execute(
        "insert into rag.served_rankers (tenant_id, model_version, ranker) values (%s, %s, %s) "
        "on conflict (tenant_id) do update set model_version = excluded.model_version, "
        "ranker = excluded.ranker, served_from = now() "
        "where rag.served_rankers.model_version <> excluded.model_version",
        (champion.tenant_id, champion.version, Jsonb(content)),
    )


def _candidate(
    key: VersionKey, judged: Sequence[JudgedCandidates], tags: Mapping[str, str]
) -> SignalCandidate:
    trained = train_ranker(judged)
    first, final = gains(judged, [None] * len(judged)), gains(judged, trained.out_of_fold)
    groups = [item.group for item in judged]
    mean, low, high = paired_bootstrap(final - first, groups)
    words = f"nDCG@10 {mean:+.3f} against the untrained fusion (95 % {low:+.3f} to {high:+.3f})"
    return SignalCandidate(
        key=key,
        files={FILE: json.dumps(trained.ranker.to_json())},
        params={"choice": str(trained.choice), "folds": trained.described, "features": len(NAMES)},
        metrics={
            "questions": float(len(judged)),
            "groups": float(len(set(groups))),
            "first_stage_ndcg_at_10": float(first.mean()),
            "ndcg_at_10": float(final.mean()),
            "gain": mean,
            "gain_low": low,
            "gain_high": high,
            "hit_at_1": _hit_at_1(judged, trained.out_of_fold),
        },
        losses=pl.DataFrame(
            {"subject": groups, "at": [str(place) for place in range(len(groups))], "loss": 1.0 - final}
        ),
        card=f"# Ranker of {key.tenant_id}\n\n{trained.described}\n\nOut of fold: {words}, "
        f"{len(judged)} questions in {len(set(groups))} groups by relevant document.\n",
        bars=[Bar("not_worse_than_fusion", low > 0.0, words)],
        tags=tags,
    )


def _hit_at_1(judged: Sequence[JudgedCandidates], scores: Sequence[Scores]) -> float:
    first = [
        bool(item.is_relevant[int(np.argmax(values))]) for item, values in zip(judged, scores, strict=True)
    ]
    return float(np.mean(first))


def _settings_digest() -> str:
    return json.dumps({kind: list(values) for kind, values in SETTINGS.items()}, sort_keys=True)
