"""Reads the files of the Azure predictive-maintenance set and refuses what is not that set.

Files may be plain (`PdM_errors.csv`) or compressed (`PdM_errors.csv.gz`). Add a check here when a
file can be wrong in one more way. Avoid topics: `azure_pdm` maps rows to them.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

_TELEMETRY = ("PdM_telemetry_m1-20_90d.csv", "PdM_telemetry.csv")
_INSTANT_FORMAT = "%Y-%m-%d %H:%M:%S"
_INSTANT = pl.Datetime("us", "UTC")


class ReplayFileError(ValueError):
    """A file of the set is missing or malformed; names file, line, column and what to do."""


@dataclass(frozen=True)
class AzurePdmFiles:
    """The five files as frames; instants are UTC, machines are numbers.

    Attributes:
        telemetry: at, machine, volt, rotate, pressure, vibration.
        errors: at, machine, error_code.
        maintenance: at, machine, component.
        failures: at, machine, component.
        machines: machine, model, age.
    """

    telemetry: pl.DataFrame
    errors: pl.DataFrame
    maintenance: pl.DataFrame
    failures: pl.DataFrame
    machines: pl.DataFrame


def read_azure_pdm(folder: Path) -> AzurePdmFiles:
    """Read and check the set.

    Args:
        folder: Folder with the files of the set.

    Raises:
        ReplayFileError: A file is missing, lacks a column, or holds a value that is not of its kind.
    """
    events = {"datetime": ("at", _INSTANT), "machineID": ("machine", pl.Int64())}
    sensors = ("volt", "rotate", "pressure", "vibration")
    return AzurePdmFiles(
        telemetry=_read(folder, _TELEMETRY, {**events, **{name: (name, pl.Float64()) for name in sensors}}),
        errors=_read(folder, ("PdM_errors.csv",), {**events, "errorID": ("error_code", pl.String())}),
        maintenance=_read(folder, ("PdM_maint.csv",), {**events, "comp": ("component", pl.String())}),
        failures=_read(folder, ("PdM_failures.csv",), {**events, "failure": ("component", pl.String())}),
        machines=_read(
            folder,
            ("PdM_machines.csv",),
            {
                "machineID": ("machine", pl.Int64()),
                "model": ("model", pl.String()),
                "age": ("age", pl.Float64()),
            },
        ),
    )


def _read(folder: Path, names: tuple[str, ...], columns: dict[str, tuple[str, pl.DataType]]) -> pl.DataFrame:
    path = _find(folder, names)
    try:
        text: pl.DataFrame = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ReplayFileError(
            f"{path}: not readable as CSV: {error}. Nothing was sent. Download the file again."
        ) from error
    missing = [name for name in columns if name not in text.columns]
    if missing:
        raise ReplayFileError(
            f"{path}, line 1: column {', '.join(missing)} is missing; found {', '.join(text.columns)}. "
            "Nothing was sent. Use the files of the set as published."
        )
    return pl.DataFrame([_cast(path, text[name], *target) for name, target in columns.items()])


def _find(folder: Path, names: tuple[str, ...]) -> Path:
    candidates = [folder / f"{name}{suffix}" for name in names for suffix in (".gz", "")]
    for path in candidates:
        if path.is_file():
            return path
    raise ReplayFileError(
        f"{folder}: found none of {', '.join(path.name for path in candidates)}. Nothing was sent. "
        "Give the folder that holds the PdM_*.csv files."
    )


def _cast(path: Path, text: pl.Series, name: str, dtype: pl.DataType) -> pl.Series:
    """One column in its type; refuses the first empty or unreadable value, with its line."""
    if dtype == _INSTANT:
        typed = text.str.to_datetime(_INSTANT_FORMAT, time_unit="us", strict=False).dt.replace_time_zone(
            "UTC"
        )
    else:
        typed = text.cast(dtype, strict=False)
    wrong = typed.is_null()
    if dtype.is_float():
        wrong = wrong | ~typed.is_finite().fill_null(value=False)
    if wrong.any():
        row = wrong.arg_true()[0]
        raise ReplayFileError(
            f"{path}, line {row + 2}, column {text.name}: {text[row]!r} is not {_kind(dtype)}. "
            "Nothing was sent. Correct or remove the line, then run the replay again."
        )
    return typed.alias(name)


def _kind(dtype: pl.DataType) -> str:
    if dtype == _INSTANT:
        return "an instant like 2015-01-31 06:00:00"
    return "a number" if dtype.is_float() else "a whole number" if dtype.is_integer() else "a text"
