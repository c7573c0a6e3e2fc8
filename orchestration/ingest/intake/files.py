"""Files of a drop folder as rows: CSV, JSON lines and parquet, plain or gzip.

Add a form here when plants export another one. Avoid where files lie: `drop_folder` finds them.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any, cast

import polars as pl

from orchestration.ingest.contracts import ContractError
from orchestration.ingest.intake.coerce import known_time
from orchestration.ingest.intake.sending import SourceRow

FORMS = ("csv", "jsonl", "ndjson", "parquet")
GZIP_MAGIC = b"\x1f\x8b"


def form_of(name: str) -> str | None:
    """The form that a file's name states; None for a file that is nobody's business.

    >>> form_of("equipment-sensors/2026-01-01.csv.gz"), form_of("notes.txt")
    ('csv', None)
    """
    form = name.lower().removesuffix(".gz").rpartition(".")[2]
    return form if form in FORMS else None


def rows_of(name: str, content: bytes) -> Iterator[SourceRow]:
    """Rows of a file, in order; a column `known_at` becomes the rows' known time.

    Args:
        name: Name of the file, for the places and for its form.
        content: Its bytes, gzip or plain.

    Raises:
        ContractError: The file as a whole can't be read: says why. No row of it was given.
    """
    form = form_of(name)
    try:
        plain = gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content
        if form == "parquet":
            yield from _frame_rows(name, pl.read_parquet(io.BytesIO(plain)), first_line=1)
        elif form == "csv":
            # Every value as text: what a column is says the contract, not the first hundred lines.
            frame = pl.read_csv(io.BytesIO(plain), infer_schema=False)
            yield from _frame_rows(name, frame, first_line=2)
        else:
            yield from _json_rows(name, plain)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, EOFError, zlib.error) as error:
        raise ContractError(f"{name}: can't be read as {form}: {error}") from None


def _frame_rows(name: str, frame: pl.DataFrame, first_line: int) -> Iterator[SourceRow]:
    for line, values in enumerate(frame.iter_rows(named=True), first_line):
        yield row_of(f"{name}:{line}", values)


def _json_rows(name: str, plain: bytes) -> Iterator[SourceRow]:
    # Only a line feed ends a line: JSON texts may hold U+2028 and others that Python splits at.
    for line, text in enumerate(plain.decode("utf-8", "replace").split("\n"), 1):
        if not text.strip():
            continue
        place = f"{name}:{line}"
        try:
            values: Any = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        # A line that is no object is one bad row and not a bad file.
        if isinstance(values, dict):
            yield row_of(place, cast("dict[str, Any]", values))
        else:
            yield SourceRow(place, {"line": text})


def row_of(place: str, values: dict[str, Any]) -> SourceRow:
    """A row whose `known_at`, if it has one, is taken out of its values."""
    rest = {str(name): value for name, value in values.items() if name != "known_at"}
    return SourceRow(place, rest, known_time(values.get("known_at")))
