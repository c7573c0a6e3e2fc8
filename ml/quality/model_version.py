"""The quality model of a tenant as a registered version: judged on the last weeks, fitted on everything."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl

from ml.quality.classifier import Classifier, ClassifierParameters, fit_classifier
from ml.quality.inspections import CLASSES, Inspections, read_inspections
from ml.quality.scores import ClassScores, class_scores
from ml.registry.client import ModelRegistry, RegisteredVersion, VersionKey
from ml.registry.signal_versions import (
    Bar,
    SignalCandidate,
    SignalOutcome,
    read_file,
    source_digest,
    train_once,
)

MODEL_NAME = "quality"
LEAST_LOTS = 400
PAST_SHARE = 0.75
# Shallow trees: the class follows from sums of strains, and a tree per strain is enough.
PARAMETERS = ClassifierParameters(
    trees=200, max_depth=3, learning_rate=0.2, colsample_bytree=0.6, min_child_weight=3.0
)
DATA_ENDS_AT = "data_ends_at"
_FILES = ("booster.json", "settings.json")


def train_quality(
    database_url: str,
    registry: ModelRegistry,
    tenant_id: str,
    as_of: datetime | None = None,
    tags: Mapping[str, str] | None = None,
) -> SignalOutcome:
    """Train and judge a tenant's quality model and register it as challenger.

    Args:
        database_url: The opsgraph database.
        registry: Where versions go.
        tenant_id: Whose lots.
        as_of: Train on what was known then.
        tags: More tags for run and version.
    """
    lots = read_inspections(database_url, tenant_id, as_of)
    if len(lots.labels) < LEAST_LOTS or len(np.unique(lots.labels)) < 2:
        note = f"{tenant_id} has {len(lots.labels)} inspections; {LEAST_LOTS} of two classes are needed"
        return SignalOutcome(tenant_id, MODEL_NAME, None, False, {}, (), note)
    key = VersionKey(
        name=MODEL_NAME,
        tenant_id=tenant_id,
        data_digest=_digest(lots),
        code_version=source_digest("quality"),
        params_hash=PARAMETERS.digest,
    )
    return train_once(registry, key, lambda: _candidate(key, lots, tags or {}))


def judge(
    lots: Inspections, parameters: ClassifierParameters = PARAMETERS
) -> tuple[ClassScores, pl.DataFrame]:
    """Fit on the first three quarters of the time, judge the rest; scores and the loss of each lot."""
    cut = int(PAST_SHARE * len(lots.labels))
    past, later = slice(0, cut), slice(cut, None)
    model = fit_classifier(lots.values[past], lots.labels[past], CLASSES, lots.features, parameters)
    predicted, truth = model.predict(lots.values[later]), lots.labels[later]
    majority = int(np.bincount(lots.labels[past]).argmax())
    losses = lots.keys[cut:].select(
        pl.col("equipment_id").alias("subject"),
        pl.col("event_at").alias("at"),
        pl.Series("loss", (predicted != truth).astype(np.float64)),
    )
    return class_scores(truth, predicted, CLASSES, majority), losses


def load_quality(registry: ModelRegistry, version: RegisteredVersion) -> Classifier:
    """Load a version's classifier; runs no code from the artefact."""
    with tempfile.TemporaryDirectory(prefix="opsgraph-quality-") as name:
        folder = Path(name)
        for file_name in _FILES:
            (folder / file_name).write_text(read_file(registry, version, file_name))
        return Classifier.load(folder)


def _candidate(key: VersionKey, lots: Inspections, tags: Mapping[str, str]) -> SignalCandidate:
    scores, losses = judge(lots)
    final = fit_classifier(lots.values, lots.labels, CLASSES, lots.features, PARAMETERS)
    with tempfile.TemporaryDirectory(prefix="opsgraph-quality-") as name:
        final.save(Path(name))
        files = {file_name: (Path(name) / file_name).read_text() for file_name in _FILES}
    held = [
        Bar(
            "beats_the_majority_class",
            scores.accuracy > scores.majority_accuracy,
            f"accuracy {scores.accuracy:.3f} on {scores.rows} later lots, against "
            f"{scores.majority_accuracy:.3f} of the majority class",
        )
    ]
    return SignalCandidate(
        key=key,
        files=files,
        params={**vars(PARAMETERS), "lots": len(lots.labels), "features": json.dumps(lots.features)},
        metrics=scores.metrics(),
        losses=losses,
        card=_card(key.tenant_id, scores, held),
        bars=held,
        tags={**tags, DATA_ENDS_AT: str(lots.keys["event_at"].max())},
    )


def _card(tenant_id: str, scores: ClassScores, held: Sequence[Bar]) -> str:
    lines = [
        f"# Quality model of {tenant_id}",
        "",
        f"Four classes from how a lot was made. Fitted on the first {PAST_SHARE:.0%} of the lots, judged on "
        f"the {scores.rows} later ones; what ships is fitted on all of them.",
        "",
        f"Accuracy {scores.accuracy:.3f} (majority class {scores.majority_accuracy:.3f}), "
        f"macro F1 {scores.macro_f1:.3f}.",
        "",
        f"| true class | F1 | {' | '.join(f'said {name}' for name in CLASSES)} |",
        f"|---|---|{'---|' * len(CLASSES)}",
    ]
    for name, f1, row in zip(CLASSES, scores.f1, scores.confusion, strict=True):
        lines.append(f"| {name} | {f1:.3f} | {' | '.join(str(count) for count in row)} |")
    lines += [
        "",
        *(f"- {bar.words}: {'held' if bar.is_held else 'not held'}" for bar in held),
        "",
        "Limits: lots of a machine or material that training never saw get the classes of similar ones.",
    ]
    return "\n".join(lines)


def _digest(lots: Inspections) -> str:
    digest = blake2b(digest_size=16)
    digest.update("\x1f".join(lots.features).encode())
    digest.update("\x1f".join(lots.keys["inspection_id"].to_list()).encode())
    digest.update(np.nan_to_num(lots.values, nan=-1e9).round(4).astype("<f4").tobytes())
    digest.update(lots.labels.astype("<i8").tobytes())
    return digest.hexdigest()
