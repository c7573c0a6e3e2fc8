"""Versions of anomaly, forecast and quality models: a folder of JSON on an MLflow run, the same aliases.

The ledger, the aliases and the rule are those of the failure models: bars first, then the champion on the
rows that both were judged on, promoted only when better beyond noise. Add nothing here that knows a model.
"""

# MLflow leaves most of its signatures untyped.
# pyright: reportUnknownMemberType=false

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psycopg

from ml.evaluation.intervals import by_machine
from ml.registry.client import MODEL_CARD_FILE, ModelRegistry, RegisteredVersion, VersionKey
from ml.registry.decide import follow_alias
from ml.registry.promotions import Decision, Verdict, is_decided, record
from ml.registry.rules import PromotionRule

SIGNAL_MODELS = ("anomaly", "forecast", "quality")
LOSS_FILE = "losses.parquet"
FOLDER = "model"
LEAST_COMMON_ROWS = 100
RESAMPLED_GROUPS = 2


@dataclass(frozen=True)
class Bar:
    """A bar that a version must hold before it may serve."""

    name: str
    is_held: bool
    words: str


@dataclass(frozen=True)
class SignalOutcome:
    """What a training run did for one tenant.

    Attributes:
        tenant_id: Owner.
        model_name: Registered model.
        version: The challenger; None where the tenant was skipped.
        is_new: False where the same data, code and parameters already have a version.
        metrics: Of the version's run.
        bars: What the version was held to; empty where skipped or not new.
        note: Why it was skipped or not trained again.
    """

    tenant_id: str
    model_name: str
    version: RegisteredVersion | None
    is_new: bool
    metrics: Mapping[str, float]
    bars: Sequence[Bar]
    note: str


@dataclass(frozen=True)
class SignalCandidate:
    """A fitted model with everything that its run keeps.

    Attributes:
        key: Identity.
        files: File name → text of the model folder.
        params: Logged as parameters.
        metrics: Logged as metrics; NaN is left out.
        losses: Loss per judged row, smaller is better: `subject`, `at`, `loss`.
        card: Model card, Markdown.
        bars: Bars of this version, in the card and on the run as tags.
        tags: More tags, for example links back to the orchestrator.
    """

    key: VersionKey
    files: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    losses: pl.DataFrame
    card: str
    bars: Sequence[Bar]
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


def register_signal(registry: ModelRegistry, candidate: SignalCandidate) -> RegisteredVersion:
    """Log a run, register its folder as a new version and make it the tenant's challenger."""
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException

    key, client = candidate.key, registry.mlflow
    found = client.get_experiment_by_name(key.name)
    experiment = found.experiment_id if found else client.create_experiment(key.name)
    failed = "; ".join(bar.words for bar in candidate.bars if not bar.is_held)
    tags = {**key.tags(), **candidate.tags, "failed_bars": failed}
    run = client.create_run(experiment, run_name=f"{key.name} {key.tenant_id}", tags=tags)
    run_id = str(run.info.run_id)
    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[
            Metric(name, float(value), now, 0)
            for name, value in candidate.metrics.items()
            if np.isfinite(value)
        ],
        params=[Param(name, str(value)[:6000]) for name, value in candidate.params.items()],
        tags=[RunTag("mlflow.note.content", candidate.card)],
    )
    with tempfile.TemporaryDirectory(prefix="opsgraph-signal-") as name:
        folder = Path(name)
        (folder / FOLDER).mkdir()
        for file_name, text in candidate.files.items():
            (folder / FOLDER / file_name).write_text(text)
        (folder / MODEL_CARD_FILE).write_text(candidate.card)
        candidate.losses.write_parquet(folder / LOSS_FILE)
        client.log_artifacts(run_id, str(folder))
    client.set_terminated(run_id, "FINISHED")
    try:
        client.create_registered_model(key.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    created = client.create_model_version(
        key.name, source=f"{run.info.artifact_uri}/{FOLDER}", run_id=run_id, tags=tags
    )
    for alias in ("challenger", f"challenger-{key.tenant_id}"):
        client.set_registered_model_alias(key.name, alias, str(created.version))
    return registry.version(key.name, str(created.version))


def source_digest(*packages: str) -> str:
    """Digest of the sources of some packages of `ml`: part of a version's identity."""
    root = Path(__file__).parents[1]
    digest = blake2b(digest_size=8)
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def train_once(
    registry: ModelRegistry, key: VersionKey, train: Callable[[], SignalCandidate]
) -> SignalOutcome:
    """Train and register, unless a version with this key exists."""
    known = registry.find(key)
    if known is not None:
        note = f"version {known.version} has the same data, code and parameters"
        return SignalOutcome(key.tenant_id, key.name, known, False, registry.metrics(known), (), note)
    candidate = train()
    version = register_signal(registry, candidate)
    return SignalOutcome(
        key.tenant_id, key.name, version, True, dict(candidate.metrics), tuple(candidate.bars), ""
    )


def read_file(registry: ModelRegistry, version: RegisteredVersion, name: str) -> str:
    """Text of one file of a version's folder."""
    with tempfile.TemporaryDirectory(prefix="opsgraph-signal-") as folder:
        path = registry.mlflow.download_artifacts(version.run_id, f"{FOLDER}/{name}", folder)
        return Path(path).read_text()


def decide_signal(
    connection: psycopg.Connection,
    registry: ModelRegistry,
    challenger: RegisteredVersion,
    rule: PromotionRule | None = None,
) -> Decision | None:
    """Decide on a challenger and write the ledger; None where it has been decided on."""
    if is_decided(connection, challenger):
        return None
    settings = rule or PromotionRule()
    won: Verdict = "promoted" if settings.mode == "MANAGED" else "waiting"
    champion = registry.by_alias(challenger.name, "champion", challenger.tenant_id)
    evidence: dict[str, Any] = {}
    verdict: Verdict = "kept_champion"
    failed = challenger.tags.get("failed_bars", "")
    if failed:
        reason = f"does not pass: {failed}"
    elif champion is None:
        verdict, reason = won, "first version that passes its bars"
    else:
        gain, rows, words = _gain(_losses(registry, challenger), _losses(registry, champion))
        evidence = {"champion": champion.version, "rows": rows, "loss_difference": words}
        verdict = won if gain else "kept_champion"
        reason = f"{'beats' if gain else 'does not beat'} champion {champion.version}: {words}"
    decision = Decision(
        tenant_id=challenger.tenant_id,
        model_name=challenger.name,
        model_version=challenger.version,
        decision=verdict,
        previous_version=champion.version if champion else None,
        decided_by="gate",
        reason=reason,
        data_digest=challenger.data_digest,
        metrics=registry.metrics(challenger),
        mode=settings.mode,
        evidence=evidence,
    )
    record(connection, decision)
    if verdict == "promoted":
        # Inside the ledger's transaction: when MLflow cannot be reached, the row is rolled back with it.
        registry.set_champion(challenger.name, challenger.version)
    return decision


def decide_signals(
    connection: psycopg.Connection,
    registry: ModelRegistry,
    tenant_ids: Sequence[str],
    rule: PromotionRule | None = None,
) -> list[Decision]:
    """Decide on every tenant's challenger of these models that the ledger has no decision on yet.

    A champion alias that a person moved in MLflow is entered first: the ledger follows the alias.
    """
    decisions: list[Decision | None] = []
    for tenant_id in tenant_ids:
        for name in SIGNAL_MODELS:
            decisions.append(follow_alias(connection, registry, tenant_id, name))
            challenger = registry.by_alias(name, "challenger", tenant_id)
            if challenger:
                decisions.append(decide_signal(connection, registry, challenger, rule))
    return [decision for decision in decisions if decision]


def _losses(registry: ModelRegistry, version: RegisteredVersion) -> pl.DataFrame:
    with tempfile.TemporaryDirectory(prefix="opsgraph-signal-") as folder:
        return pl.read_parquet(registry.mlflow.download_artifacts(version.run_id, LOSS_FILE, folder))


def _gain(challenger: pl.DataFrame, champion: pl.DataFrame) -> tuple[bool, int, str]:
    """Whether the challenger's mean loss is lower beyond noise on the rows that both were judged on."""
    on = ["subject", "at"]
    common = challenger.join(champion.rename({"loss": "of_champion"}), on=on).sort(on)
    if common.height < LEAST_COMMON_ROWS or common["subject"].n_unique() < RESAMPLED_GROUPS:
        return False, common.height, f"only {common.height} rows were judged by both"
    difference = (common["loss"] - common["of_champion"]).to_numpy()
    codes = common["subject"].rank("dense").to_numpy().astype(np.int64) - 1
    found = by_machine(lambda weight: float(np.average(difference, weights=weight)), codes)
    return found.high < 0, common.height, f"mean loss differs by {found} on {common.height} rows"
