"""Judge the stream detector on any folder in the form of the Numenta Anomaly Benchmark.

`<folder>/data/<category>/<file>.csv` holds `timestamp` and `value`; `<folder>/labels/combined_windows.json`
holds the anomaly windows, which only the scorer sees.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ml.anomaly.nab_scoring import FileScore, scaled, score_file
from ml.anomaly.stream import StreamSettings, alarms
from ml.datasets.tables import TableFormatError, instants, read_table, table_name, tables_below

_DAY_S = 86_400.0
INSTANTS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%.f")


@dataclass(frozen=True)
class NabReport:
    """Scores of a folder.

    Attributes:
        score_standard: Standard profile over all files that have labels.
        by_category: The same per category; NaN where a category has no window.
        by_file: Per file.
    """

    score_standard: float
    by_category: Mapping[str, float]
    by_file: Mapping[str, FileScore]

    def to_json(self) -> dict[str, Any]:
        """Keys as the command prints them."""
        files = self.by_file.values()
        return {
            "score_standard": round(self.score_standard, 3),
            "by_category": {
                name: None if np.isnan(score) else round(score, 3) for name, score in self.by_category.items()
            },
            "files": len(self.by_file),
            "windows": sum(found.windows for found in files),
            "detected": sum(found.detected for found in files),
            "false_positives": sum(found.false_positives for found in files),
        }


def judge_nab(folder: Path, settings: StreamSettings | None = None) -> NabReport:
    """Run the detector over every file that has an entry in the labels, and score it.

    Raises:
        TableFormatError: No labels, or no data file that they name.
    """
    windows = _windows(folder)
    found: dict[str, FileScore] = {}
    for path in tables_below(folder / "data" if (folder / "data").is_dir() else folder):
        key = f"{path.parent.name}/{table_name(path)}.csv"
        if key in windows:
            found[key] = _judge(path, windows[key], settings)
    if not found:
        raise TableFormatError(
            f"{folder} has no data file that labels/combined_windows.json names as <category>/<file>.csv."
        )
    categories: dict[str, list[FileScore]] = defaultdict(list)
    for key, score in found.items():
        categories[key.split("/")[0]].append(score)
    return NabReport(
        score_standard=scaled(list(found.values())),
        by_category={name: scaled(scores) for name, scores in sorted(categories.items())},
        by_file=found,
    )


def _judge(path: Path, windows: list[list[str]], settings: StreamSettings | None) -> FileScore:
    frame = read_table(path)
    if not {"timestamp", "value"} <= set(frame.columns):
        raise TableFormatError(f"{path} has the columns {frame.columns}; timestamp and value are needed.")
    if frame["value"].null_count():
        line = int(frame["value"].is_null().arg_true()[0]) + 2
        raise TableFormatError(f"{path}, line {line}: value is empty.")
    at = instants(path, frame["timestamp"], INSTANTS)
    step_s = np.median(np.diff(at.dt.epoch("ms").to_numpy())) / 1000.0
    values_per_day = max(round(_DAY_S / max(float(step_s), 1.0)), 1)
    raised = alarms(frame["value"].cast(pl.Float64).to_list(), values_per_day, settings)
    spans = [
        (first, last)
        for first, last in (instants(path, pl.Series("window", window), INSTANTS) for window in windows)
    ]
    return score_file(at.to_list(), spans, raised)


def _windows(folder: Path) -> dict[str, list[list[str]]]:
    for parent in (folder, folder.parent, folder.parent.parent):
        path = parent / "labels" / "combined_windows.json"
        if path.exists():
            return json.loads(path.read_text())
    raise TableFormatError(f"{folder} has no labels/combined_windows.json, in itself or a folder above it.")
