"""Reading public sets that are not the ones they were developed on."""

from pathlib import Path

import polars as pl
import pytest

from ml.datasets.tables import TableFormatError, has_columns, instants, read_table


def written(folder: Path, lines: list[str]) -> Path:
    """A table with these lines."""
    path = folder / "a.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_readings_may_begin_with_whole_numbers(tmp_path: Path) -> None:
    """Forbids a type guessed from the first hundred rows: here the first fraction is in row 300."""
    path = written(tmp_path, ["value,name", *(f"{row},x" for row in range(299)), "0.5,y"])
    frame = read_table(path)
    assert frame.schema == {"value": pl.Float64, "name": pl.String}
    assert frame["value"][-1] == 0.5


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    """Forbids machine 7 that becomes machine 7.0."""
    assert read_table(written(tmp_path, ["machine", "7", "8"]))["machine"].to_list() == [7, 8]


def test_a_bad_cell_is_named_by_file_line_and_column(tmp_path: Path) -> None:
    """Forbids a reader's error about types that doesn't say where: the header is line 1."""
    path = written(tmp_path, ["a,b", "1,2", "1,oops"])
    with pytest.raises(TableFormatError, match=r"a\.csv, line 3: b is 'oops', not a number"):
        read_table(path)
    with pytest.raises(TableFormatError, match=r"line 3: at is 'soon', not an instant"):
        instants(path, pl.Series("at", ["2020-01-01", "soon"]), ("%Y-%m-%d",))


def test_other_files_of_a_folder_are_passed_over(tmp_path: Path) -> None:
    """Forbids a read-me beside the tables that stops the evaluation."""
    path = written(tmp_path, ["read me first, please"])
    assert not has_columns(path, ("date", "OT"))
    assert has_columns(written(tmp_path, ["date,OT,more", "x,1,2"]), ("date", "OT"))
