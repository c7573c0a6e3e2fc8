"""Public data sets as files: which tables a folder holds, packed or not.

Add a reader of one set where the set is judged. Avoid names of known files: sets are found by their form.
"""

from pathlib import Path

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


def table_name(path: Path) -> str:
    """File name without `.csv`, `.txt` and `.gz`.

    >>> table_name(Path("valve1/3.csv.gz"))
    '3'
    """
    name = path.name.removesuffix(".gz")
    return name.removesuffix(".csv").removesuffix(".txt")
