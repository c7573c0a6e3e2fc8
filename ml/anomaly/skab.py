"""Judge the lagged-residual detector on any folder in the form of the Skoltech Anomaly Benchmark.

Each file is one experiment: a machine's sensors by the second, with `anomaly` marking the rows of a fault.
The first 400 rows are normal and train the detector; the rest is judged. Labels are read by the score only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.anomaly.lagged_residual import LaggedResidual
from ml.anomaly.threshold import short_training_threshold
from ml.datasets.tables import TableFormatError, has_columns, read_table, table_name, tables_below

TRAINING_ROWS = 400
_LABELS = ("anomaly", "changepoint")


@dataclass(frozen=True)
class Confusion:
    """Counts of judged rows."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN without a positive on either side."""
        found = 2 * self.true_positives
        total = found + self.false_positives + self.false_negatives
        return found / total if total else float("nan")

    @property
    def far_percent(self) -> float:
        """False alarm rate: share of normal rows that are alarmed."""
        normal = self.false_positives + self.true_negatives
        return 100.0 * self.false_positives / normal if normal else float("nan")

    @property
    def mar_percent(self) -> float:
        """Missed alarm rate: share of anomalous rows that are not alarmed."""
        anomalous = self.true_positives + self.false_negatives
        return 100.0 * self.false_negatives / anomalous if anomalous else float("nan")


@dataclass(frozen=True)
class SkabReport:
    """Scores of a folder.

    Attributes:
        pooled: Rows of all files together, as the benchmark counts.
        by_file: Per file.
    """

    pooled: Confusion
    by_file: Mapping[str, Confusion]

    def to_json(self) -> dict[str, Any]:
        """Keys as the command prints them, the always-alarming detector's F1 beside the own one."""
        found = self.pooled
        anomalous = found.true_positives + found.false_negatives
        rows = anomalous + found.false_positives + found.true_negatives
        return {
            "f1": round(found.f1, 4),
            "far_percent": round(found.far_percent, 3),
            "mar_percent": round(found.mar_percent, 3),
            "always_alarm_f1": round(2 * anomalous / (rows + anomalous), 4),
            "files": len(self.by_file),
            "rows": rows,
        }


def judge_skab(folder: Path) -> SkabReport:
    """Train on the start of each file and judge its rest.

    Raises:
        TableFormatError: No file has an `anomaly` column and more than 400 rows.
    """
    by_file: dict[str, Confusion] = {}
    for path in tables_below(folder):
        if not has_columns(path, ("anomaly",), ";"):
            continue
        frame = read_table(path, ";")
        if frame.height > TRAINING_ROWS:
            by_file[f"{path.parent.name}/{table_name(path)}"] = _judge(frame)
    if not by_file:
        raise TableFormatError(
            f"{folder} has no experiment: a table with `;` between columns, an `anomaly` column and "
            f"more than {TRAINING_ROWS} rows."
        )
    counts = np.array([_counts(found) for found in by_file.values()]).sum(axis=0)
    return SkabReport(Confusion(*(int(count) for count in counts)), by_file)


def _judge(frame: pl.DataFrame) -> Confusion:
    sensors = [name for name, kind in frame.schema.items() if name not in _LABELS and kind.is_numeric()]
    values = frame.select(sensors).fill_null(strategy="forward").to_numpy().astype(np.float64)
    detector = LaggedResidual().fit(values[:TRAINING_ROWS])
    score = detector.score(values)
    threshold = short_training_threshold(score[:TRAINING_ROWS])
    return _confusion(score[TRAINING_ROWS:] > threshold, frame["anomaly"].to_numpy()[TRAINING_ROWS:] > 0)


def _confusion(raised: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Confusion:
    return Confusion(
        int((raised & truth).sum()),
        int((raised & ~truth).sum()),
        int((~raised & truth).sum()),
        int((~raised & ~truth).sum()),
    )


def _counts(found: Confusion) -> tuple[int, int, int, int]:
    return found.true_positives, found.false_positives, found.false_negatives, found.true_negatives
