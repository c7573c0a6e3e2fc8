"""From the warehouse to a registered challenger; whether it serves is decided in `ml.registry.decide`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import cast

import polars as pl

from ml.datasets.leakage import LeakageReport, probe_instant, probe_leakage
from ml.datasets.maturity import labels_known_until
from ml.datasets.training_set import NotEnoughDataError, TrainingSet, build_training_set
from ml.datasets.warehouse import WarehouseHistory, label_disagreements, read_history
from ml.evaluation.model_card import model_card
from ml.evaluation.plots import importance_figure, precision_recall_figure, reliability_figure
from ml.evaluation.segments import by_equipment_model
from ml.models.horizons import Horizon
from ml.registry.client import MODEL_CARD_FILE, Candidate, ModelRegistry, RegisteredVersion, VersionKey
from ml.registry.gate import Criterion, absolute_criteria
from ml.training.artefacts import usual_input
from ml.training.code_version import code_version
from ml.training.fitting import FailureParameters
from ml.training.search import search_parameters
from ml.training.train import TrainedFailureModel, train_failure_model

HISTORY_ENDS_AT = "history_ends_at"
"""Tag of a version: the newest machine-hour that was there when it was trained (ISO 8601)."""


@dataclass(frozen=True)
class TrainingOutcome:
    """What training did for one tenant and horizon.

    Attributes:
        tenant_id: Owner.
        model_name: Registered model.
        version: The challenger; None where the tenant was skipped.
        is_new: False where the same data, code and parameters already have a version.
        metrics: Of the version's run.
        rows: Labelled machine-hours; of a kept version, all machine-hours that are there now.
        note: Why it was skipped or not trained again; empty for a new version.
        run_url: Page of the MLflow run; empty where skipped.
    """

    tenant_id: str
    model_name: str
    version: RegisteredVersion | None
    is_new: bool
    metrics: Mapping[str, float]
    rows: int
    note: str
    run_url: str

    def criteria(self, horizon: Horizon) -> list[Criterion]:
        """The gate's absolute bars for this version; none where the tenant was skipped."""
        return absolute_criteria(self.metrics, horizon) if self.version else []


def train_tenant(
    database_url: str,
    registry: ModelRegistry,
    tenant_id: str,
    horizon: Horizon,
    as_of: datetime | None = None,
    parameters: FailureParameters | None = None,
    tags: Mapping[str, str] | None = None,
    failures_wait: bool = False,
    keep_for: timedelta = timedelta(0),
    search_trials: int = 0,
) -> TrainingOutcome:
    """Train one tenant's model for one horizon and register it as challenger.

    Args:
        database_url: The opsgraph database.
        registry: Where versions go.
        tenant_id: Whose machines.
        horizon: What to predict.
        as_of: Train on what was known then; on everything known by default.
        parameters: How to fit.
        tags: More tags for run and version.
        failures_wait: Whether messages of the failure topic wait in Kafka; then, and while landed ones
            wait to be built, labels end at the last failure that is known.
        keep_for: A version of this code and these parameters stays as it is until the plant's history has
            grown by more than this since it was trained.
        search_trials: Parameters tried before; what wins beyond noise is trained with. 0 takes them as given.
    """
    parameters = parameters or FailureParameters()
    found = read_history(database_url, tenant_id, as_of)
    if keep_for and (kept := _recent(registry, found, horizon, parameters, keep_for)):
        return kept
    if as_of is None:
        disagreements = label_disagreements(database_url, found, horizon.length)
        found = replace(found, provenance=replace(found.provenance, label_disagreements=disagreements))
    until = None if as_of else labels_known_until(database_url, tenant_id, failures_wait)
    return train_history(registry, found, horizon, parameters, tags or {}, until, search_trials)


def train_history(
    registry: ModelRegistry,
    found: WarehouseHistory,
    horizon: Horizon,
    parameters: FailureParameters,
    tags: Mapping[str, str],
    labels_until: datetime | None = None,
    search_trials: int = 0,
) -> TrainingOutcome:
    """Train on a history that was read before; equal data, code and parameters are not trained twice."""
    tenant_id = found.history.tenant_id
    try:
        data = build_training_set(
            found.history, horizon.length, found.as_of, found.provenance, labels_until=labels_until
        )
        if search_trials:
            parameters = search_parameters(data, parameters, search_trials).parameters
        key = VersionKey(
            name=horizon.model_name,
            tenant_id=tenant_id,
            data_digest=data.data_digest,
            code_version=code_version(),
            params_hash=parameters.digest,
        )
        known = registry.find(key)
        if known is not None:
            note = f"version {known.version} has the same data, code and parameters"
            return _known(registry, known, data.keys.height, note)
        trained = train_failure_model(data, parameters)
    except NotEnoughDataError as error:
        return TrainingOutcome(tenant_id, horizon.model_name, None, False, {}, 0, str(error), "")
    leakage = probe_leakage(found.history, horizon.length, probe_instant(found.history))
    ends_at = _ends_at(found)
    candidate = _candidate(key, data, trained, {**tags, HISTORY_ENDS_AT: ends_at.isoformat()}, leakage)
    version = registry.register(candidate)
    return TrainingOutcome(
        tenant_id,
        key.name,
        version,
        True,
        candidate.metrics,
        data.keys.height,
        "",
        registry.run_url(version),
    )


def _ends_at(found: WarehouseHistory) -> datetime:
    """The newest machine-hour of a history that has rows."""
    return cast(datetime, found.history.metrics["hour_at"].max())


def _recent(
    registry: ModelRegistry,
    found: WarehouseHistory,
    horizon: Horizon,
    parameters: FailureParameters,
    keep_for: timedelta,
) -> TrainingOutcome | None:
    """The newest version of this code and these parameters, unless the history has outgrown it."""
    known = registry.newest(horizon.model_name, found.history.tenant_id, code_version(), parameters.digest)
    ended_at = known.tags.get(HISTORY_ENDS_AT) if known else None
    if known is None or ended_at is None or found.history.metrics.is_empty():
        return None
    grown = _ends_at(found) - datetime.fromisoformat(ended_at)
    if grown > keep_for:
        return None
    hours, limit = grown / timedelta(hours=1), keep_for / timedelta(hours=1)
    note = f"version {known.version} stays: {hours:g} h of data are newer, {limit:g} h train a new one"
    return _known(registry, known, found.history.metrics.height, note)


def _known(registry: ModelRegistry, version: RegisteredVersion, rows: int, note: str) -> TrainingOutcome:
    metrics, url = registry.metrics(version), registry.run_url(version)
    return TrainingOutcome(version.tenant_id, version.name, version, False, metrics, rows, note, url)


def _candidate(
    key: VersionKey,
    data: TrainingSet,
    trained: TrainedFailureModel,
    tags: Mapping[str, str],
    leakage: LeakageReport,
) -> Candidate:
    found, report = trained.out_of_fold, trained.report
    card = model_card(key.name, data, trained.model, report, trained.folds, by_equipment_model(data, found))
    return Candidate(
        key=key,
        model=trained.model,
        params={**data.summary(), **asdict(trained.parameters), "folds": trained.folds},
        metrics={
            **report.metrics(),
            "train_seconds": trained.seconds,
            "threshold": trained.model.threshold,
            "leaked_rows": leakage.leaked,
        },
        documents={
            MODEL_CARD_FILE: card,
            "query.sql": data.provenance.query,
            "features.json": {"features": [asdict(spec) for spec in data.features.specs]},
            "leakage.json": asdict(leakage) | {"as_of": leakage.as_of.isoformat()},
            "source_vector.json": dict(data.provenance.source_vector),
            "data.json": {
                **data.summary(),
                "data_digest": data.data_digest,
                "label_disagreements": data.provenance.label_disagreements,
                "dropped": dict(data.features.dropped),
            },
        },
        figures={
            "precision_recall.png": precision_recall_figure(found, report),
            "reliability.png": reliability_figure(report),
            "feature_importance.png": importance_figure(trained.model),
        },
        out_of_fold=found.keys.select("equipment_id", "hour_at").with_columns(
            pl.Series("probability", found.probability),
            pl.Series("is_alert", found.is_alert),
            pl.Series("is_failure", found.is_failure),
        ),
        example=data.values[:3],
        tags={**tags, "data_ends_at": str(data.keys["hour_at"].max()), "as_of": data.as_of.isoformat()},
        usual=usual_input(data),
    )
