"""Judge remaining useful life on any folder in the form of NASA's C-MAPSS turbofan sets.

A set NAME is three tables: `train_NAME.txt` (units until failure), `test_NAME.txt` (units cut off earlier)
and `RUL_NAME.txt` (their remaining cycles, read by the score only). Packed files are read too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.datasets.tables import TableFormatError, table_name, tables_below
from ml.remaining_life.fleet import Fleet
from ml.remaining_life.model import LifeParameters, fit_life

SETTINGS = 3
LEAST_COLUMNS = 2 + SETTINGS + 1


@dataclass(frozen=True)
class LifeScore:
    """Test scores of one set, in cycles.

    Attributes:
        units: Test units.
        rmse: With truth and prediction capped, as published figures are.
        rmse_uncapped: Against the true remaining life.
        rmse_of_mean: Capped error of always predicting the training units' mean at a random cut.
        conditions: Operating conditions found.
    """

    units: int
    rmse: float
    rmse_uncapped: float
    rmse_of_mean: float
    conditions: int


def judge_cmapss(folder: Path, parameters: LifeParameters | None = None) -> Mapping[str, LifeScore]:
    """Train and score every set of the folder, by name.

    Raises:
        TableFormatError: No set is complete.
    """
    tables = {table_name(path): path for path in tables_below(folder)}
    names = [
        name.removeprefix("train_")
        for name in sorted(tables)
        if name.startswith("train_")
        and {f"test_{name.removeprefix('train_')}", f"RUL_{name.removeprefix('train_')}"} <= tables.keys()
    ]
    if not names:
        raise TableFormatError(f"{folder} has no set of train_NAME, test_NAME and RUL_NAME tables.")
    settings = parameters or LifeParameters()
    return {
        name: _judge(
            _fleet(tables[f"train_{name}"]),
            _fleet(tables[f"test_{name}"]),
            _numbers(tables[f"RUL_{name}"])[:, 0],
            settings,
        )
        for name in names
    }


def to_json(scores: Mapping[str, LifeScore]) -> dict[str, Any]:
    """Keys as the command prints them: `rmse_fd001`, `rmse_uncapped_fd001` and so on."""
    found: dict[str, Any] = {}
    for name, score in scores.items():
        key = name.lower()
        found[f"rmse_{key}"] = round(score.rmse, 4)
        found[f"rmse_uncapped_{key}"] = round(score.rmse_uncapped, 4)
        found[f"rmse_of_mean_{key}"] = round(score.rmse_of_mean, 4)
        found[f"operating_conditions_{key}"] = score.conditions
    return found


def _judge(train: Fleet, test: Fleet, truth: NDArray[np.float64], settings: LifeParameters) -> LifeScore:
    last = test.last_rows
    if len(last) != len(truth):
        raise TableFormatError(f"{len(last)} test units, but {len(truth)} remaining lives.")
    model = fit_life(train, settings)
    predicted = model.predict(test)[last]
    capped = np.minimum(truth, settings.cap_cycles)
    usual = float(np.minimum(train.rows_to_end(), settings.cap_cycles).mean())
    return LifeScore(
        units=len(last),
        rmse=_rmse(predicted, capped),
        rmse_uncapped=_rmse(predicted, truth),
        rmse_of_mean=_rmse(np.full(len(last), usual), capped),
        conditions=len(model.conditions.centre),
    )


def _rmse(predicted: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def _fleet(path: Path) -> Fleet:
    values = _numbers(path)
    if values.shape[1] < LEAST_COLUMNS:
        raise TableFormatError(
            f"{path} has {values.shape[1]} columns; unit, cycle, {SETTINGS} settings and sensors are needed."
        )
    names = ["unit", "cycle", *(f"value_{column}" for column in range(2, values.shape[1]))]
    return Fleet.of(pl.DataFrame(values, schema=names), SETTINGS)


def _numbers(path: Path) -> NDArray[np.float64]:
    try:
        return np.loadtxt(path, dtype=np.float64, ndmin=2)
    except ValueError as error:
        # NumPy says which row (from 0) and column, and not of which file.
        raise TableFormatError(f"{path}: {error}; rows are counted from 0.") from error
