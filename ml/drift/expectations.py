"""An expectation suite, compiled for the serving path: the subset that contracts and artefacts write.

Great Expectations takes seconds to import and tens of milliseconds per batch; a prediction has 15 ms.
The same suite file is read here into plain comparisons, and a test holds both to equal results. Add a
type of expectation here with its test. Avoid thresholds: they stand in the suite.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

Check = Callable[[np.ndarray], bool]


class UnsupportedExpectationError(ValueError):
    """A suite holds a type of expectation that the serving path can't evaluate."""


@dataclass(frozen=True)
class Expectation:
    """One expectation about one column.

    Attributes:
        kind: Type in Great Expectations' spelling.
        column: Name of the column; empty for expectations about the table.
        words: What is expected, for messages.
        holds: Judges the column's values, shape (rows,); NaN is a missing value.
    """

    kind: str
    column: str
    words: str
    holds: Check


@dataclass(frozen=True)
class ExpectationSuite:
    """Expectations on the columns of a model's input, in the input's order.

    Attributes:
        columns: Column names of the matrices that will be judged.
        expectations: What is expected of them.
    """

    columns: tuple[str, ...]
    expectations: tuple[Expectation, ...]

    @classmethod
    def parse(cls, document: Mapping[str, Any], columns: Sequence[str]) -> "ExpectationSuite":
        """Compile a suite as Great Expectations stores it (`{"expectations": [{"type", "kwargs"}]}`).

        Args:
            document: The parsed `expectations.json`.
            columns: Column names of the input, in order.

        Raises:
            UnsupportedExpectationError: A type is not one of those that are evaluated here.
        """
        rows = cast("list[dict[str, Any]]", document.get("expectations", []))
        return cls(tuple(columns), tuple(_compile(row) for row in rows))

    @classmethod
    def load(cls, path: Path, columns: Sequence[str]) -> "ExpectationSuite":
        """Read and compile a suite file."""
        return cls.parse(json.loads(path.read_text()), columns)

    def violations(self, inputs: np.ndarray) -> tuple[str, ...]:
        """What a batch violates, in words; empty where it holds everything.

        Args:
            inputs: Shape (rows, columns), NaN where missing.
        """
        found: list[str] = []
        for expected in self.expectations:
            if expected.column not in self.columns:
                found.append(f"column {expected.column} is not in the input")
                continue
            if not expected.holds(inputs[:, self.columns.index(expected.column)]):
                found.append(expected.words)
        return tuple(found)


def _compile(row: Mapping[str, Any]) -> Expectation:
    kind, given = str(row["type"]), cast("dict[str, Any]", row.get("kwargs", {}))
    column, mostly = str(given.get("column", "")), float(given.get("mostly") or 1.0)
    low, high = _bound(given.get("min_value"), -np.inf), _bound(given.get("max_value"), np.inf)
    limits = f"between {low:g} and {high:g}"

    def is_inside(values: np.ndarray) -> np.ndarray:
        return (values >= low) & (values <= high)

    match kind:
        case "expect_column_to_exist":
            return Expectation(kind, column, f"{column} is in the input", lambda values: True)
        case "expect_column_values_to_not_be_null":
            return Expectation(
                kind,
                column,
                f"{column} is missing in more than {1 - mostly:.0%} of the rows",
                lambda values: bool(np.mean(~np.isnan(values)) >= mostly) if values.size else True,
            )
        case "expect_column_values_to_be_between":
            return Expectation(
                kind,
                column,
                f"{column} is not {limits}" + (f" in {mostly:.0%} of the rows" if mostly < 1 else ""),
                lambda values: _share(is_inside(values[~np.isnan(values)])) >= mostly,
            )
        case "expect_column_values_to_be_in_set":
            allowed = np.asarray(given.get("value_set", []), dtype=np.float64)
            return Expectation(
                kind,
                column,
                f"{column} is not one of {', '.join(f'{value:g}' for value in allowed)}",
                lambda values: _share(np.isin(values[~np.isnan(values)], allowed)) >= mostly,
            )
        case "expect_column_mean_to_be_between":
            return Expectation(
                kind,
                column,
                f"the mean of {column} is not {limits}",
                lambda values: (
                    bool(np.isnan(values).all()) or bool(is_inside(np.asarray(np.nanmean(values))))
                ),
            )
        case _:
            raise UnsupportedExpectationError(
                f"{kind} on {column or 'the table'} can't be evaluated while serving. Known are: existence, "
                "not null, between, in set, mean between. Take it out of expectations.json or add it to "
                "ml/drift/expectations.py."
            )


def _bound(value: Any, without: float) -> float:
    return without if value is None else float(value)


def _share(flags: np.ndarray) -> float:
    # Great Expectations calls an expectation over no values held.
    return float(np.mean(flags)) if flags.size else 1.0
