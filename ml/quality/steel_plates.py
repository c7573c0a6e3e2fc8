"""Judge the quality pipeline on a table in the form of the UCI steel plates: measurements and a fault class.

The class column is found by its form: several values, among the last columns. A two-valued column beside it
says the same with less and is dropped too, so that no model is given the answer.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.datasets.tables import TableFormatError, read_table, tables_below
from ml.quality.classifier import ClassifierParameters, fit_classifier
from ml.quality.scores import ClassScores, class_scores

FOLDS = REPEATS = 5
# Columns by these names hold the class or a summary of it, in the versions of this set that are around.
TARGETS = ("failure.type", "fault", "class", "target", "label")
_ONE_HOT = ("pastry", "z_scratch", "k_scatch", "k_scratch", "stains", "dirtiness", "bumps", "other_faults")


@dataclass(frozen=True)
class PlateReport:
    """Scores over all folds.

    Attributes:
        rows: Plates.
        classes: Fault classes.
        accuracy: Mean over folds.
        macro_f1: Mean over folds.
        accuracy_spread: Standard deviation over folds.
        majority_accuracy: Of always saying the most frequent class.
        f1_by_class: Mean over folds.
    """

    rows: int
    classes: tuple[str, ...]
    accuracy: float
    macro_f1: float
    accuracy_spread: float
    majority_accuracy: float
    f1_by_class: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Keys as the command prints them."""
        found = asdict(self)
        return {
            key: round(value, 5) if isinstance(value, float) else value for key, value in found.items()
        } | {
            "f1_by_class": {
                name: round(score, 4) for name, score in zip(self.classes, self.f1_by_class, strict=True)
            }
        }


def judge_steel_plates(
    path: Path, repeats: int = REPEATS, parameters: ClassifierParameters | None = None
) -> PlateReport:
    """Cross-validate on the first table with a class column, 5 folds, repeated.

    Raises:
        TableFormatError: No table has one.
    """
    for table in tables_below(path):
        frame = read_table(table)
        found = _targets(frame)
        if found is not None:
            return _judge(*found, repeats=repeats, parameters=parameters)
    raise TableFormatError(
        f"{path} has no table with a class column: one named {', '.join(TARGETS)}, or one column per fault."
    )


def _targets(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series] | None:
    by_name = {name.lower(): name for name in frame.columns}
    one_hot = [by_name[name] for name in _ONE_HOT if name in by_name]
    named = [by_name[name] for name in TARGETS if name in by_name]
    several = [name for name in named if frame[name].n_unique() > 2]
    if several:
        labels = frame[several[0]].cast(pl.String)
    elif len(one_hot) > 2:
        values = frame.select(one_hot).to_numpy()
        labels = pl.Series([one_hot[column] for column in values.argmax(axis=1)])
    else:
        return None
    inputs = frame.drop(named + one_hot)
    return inputs.select(name for name, kind in inputs.schema.items() if kind.is_numeric()), labels


def _judge(
    inputs: pl.DataFrame, labels: pl.Series, repeats: int, parameters: ClassifierParameters | None
) -> PlateReport:
    values = inputs.to_numpy().astype(np.float32)
    classes = tuple(labels.unique().sort().to_list())
    truth = np.array([classes.index(label) for label in labels.to_list()], dtype=np.int64)
    majority = int(np.bincount(truth).argmax())
    scores: list[ClassScores] = []
    for repeat in range(repeats):
        for test in _stratified(truth, repeat):
            train = np.setdiff1d(np.arange(len(truth)), test)
            model = fit_classifier(values[train], truth[train], classes, inputs.columns, parameters)
            scores.append(class_scores(truth[test], model.predict(values[test]), classes, majority))
    return _report(scores, classes, len(truth))


def _report(scores: Sequence[ClassScores], classes: tuple[str, ...], rows: int) -> PlateReport:
    accuracy = np.array([found.accuracy for found in scores])
    return PlateReport(
        rows=rows,
        classes=classes,
        accuracy=float(accuracy.mean()),
        macro_f1=float(np.mean([found.macro_f1 for found in scores])),
        accuracy_spread=float(accuracy.std()),
        majority_accuracy=float(np.mean([found.majority_accuracy for found in scores])),
        f1_by_class=tuple(np.nanmean([found.f1 for found in scores], axis=0).tolist()),
    )


def _stratified(truth: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """Test rows of each fold, every class dealt out evenly."""
    draws = np.random.default_rng(seed)
    fold = np.empty(len(truth), dtype=np.int64)
    for label in np.unique(truth):
        rows = draws.permutation(np.flatnonzero(truth == label))
        fold[rows] = (np.arange(len(rows)) + draws.integers(FOLDS)) % FOLDS
    return [np.flatnonzero(fold == number) for number in range(FOLDS)]
