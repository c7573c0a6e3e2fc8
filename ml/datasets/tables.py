"""Public data sets as files: which tables a folder holds, packed or not.

Add a reader of one set where the set is judged. Avoid names of known files: sets are found by their form.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

TABLE_SUFFIXES = (".csv", ".csv.gz", ".txt", ".txt.gz")


class TableFormatError(ValueError):
    """A file or folder does not have the form of the data set; the message says what is missing."""


def tables_below(path: Path) -> list[Path]:
    """Every table at or below a path, in order; a table that stands there packed and unpacked is read once.

    Raises:
        TableFormatError: There is none.
    """
    candidates = [path] if path.is_file() else sorted(path.rglob("*"))
    found: dict[Path, Path] = {}
    for candidate in candidates:
        if candidate.is_file() and candidate.name.endswith(TABLE_SUFFIXES):
            found.setdefault(candidate.with_name(table_name(candidate)), candidate)
    if not found:
        raise TableFormatError(f"{path} holds no table: a .csv or .txt file, with or without .gz.")
    return list(found.values())


def has_columns(path: Path, names: Iterable[str], separator: str = ",") -> bool:
    """Whether a table's header has all of these names; other files of a folder are passed over by it."""
    try:
        header = pl.read_csv(
            path, separator=separator, infer_schema=False, n_rows=1, truncate_ragged_lines=True
        )
    except pl.exceptions.PolarsError:
        return False
    return set(names) <= set(header.columns)


def read_table(path: Path, separator: str = ",") -> pl.DataFrame:
    """Read one table; a column is numeric where its first value is a number, and then all of it has to be.

    The whole column is looked at: readings that begin with a hundred whole numbers need not be integers.

    Raises:
        TableFormatError: A row has more cells than the header, or a numeric column holds something else;
            the message names file, line and column.
    """
    try:
        texts = pl.read_csv(path, separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines() or ["it can't be read"]
        raise TableFormatError(f"{path}: {reason[0]}") from error
    return texts.with_columns(_column(path, texts[name].str.strip_chars()) for name in texts.columns)


def instants(path: Path, texts: pl.Series, forms: Sequence[str]) -> pl.Series:
    """Instants in the first of the forms that reads each text, without a zone.

    Raises:
        TableFormatError: A text is in none of them; the message names file and line.
    """
    read = [texts.cast(pl.String).str.to_datetime(form, strict=False, time_unit="us") for form in forms]
    found = pl.select(pl.coalesce(read)).to_series().rename(texts.name)
    _no_failure(path, texts, found, "an instant")
    return found


def _column(path: Path, texts: pl.Series) -> pl.Series:
    present = texts.drop_nulls()
    if present.is_empty() or present.head(1).cast(pl.Float64, strict=False).null_count():
        return texts
    whole = texts.cast(pl.Int64, strict=False)
    if whole.null_count() == texts.null_count():
        return whole
    numbers = texts.cast(pl.Float64, strict=False)
    _no_failure(path, texts, numbers, "a number")
    return numbers


def _no_failure(path: Path, texts: pl.Series, read: pl.Series, kind: str) -> None:
    failed = (read.is_null() & texts.is_not_null()).arg_true()
    if len(failed):
        row = int(failed[0])
        # The first line is the header.
        raise TableFormatError(f"{path}, line {row + 2}: {texts.name} is {texts[row]!r}, not {kind}.")


def table_name(path: Path) -> str:
    """File name without `.csv`, `.txt` and `.gz`.

    >>> table_name(Path("valve1/3.csv.gz"))
    '3'
    """
    name = path.name.removesuffix(".gz")
    return name.removesuffix(".csv").removesuffix(".txt")
