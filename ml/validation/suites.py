"""Great Expectations suites on rows: which expectations fail, and how grave that is.

The suites in `generated/` are made from the contracts by `opsgraph contracts sync`. Add here what a verdict
says. Avoid reading rows: the caller has them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUITES = Path(__file__).parent / "generated"
CRITICAL = "critical"


@dataclass(frozen=True)
class FailedExpectation:
    """One expectation that rows do not meet.

    Attributes:
        column: Column that it is about.
        kind: Its type, `expect_column_values_to_be_between` for example.
        is_critical: Whether landing would have refused such a row, so that it should not be here at all.
        unexpected: Rows that do not meet it; None for one about the column as a whole.
    """

    column: str
    kind: str
    is_critical: bool
    unexpected: int | None

    def __str__(self) -> str:
        rows = "" if self.unexpected is None else f": {self.unexpected} rows do not"
        return f"{self.column}: {self.kind}{rows}"


@dataclass(frozen=True)
class SuiteVerdict:
    """What a suite says of some rows.

    Attributes:
        rows: Rows that were looked at.
        expectations: Expectations of the suite.
        failed: Those that are not met, critical ones first.
    """

    rows: int
    expectations: int
    failed: tuple[FailedExpectation, ...]

    @property
    def is_critical(self) -> bool:
        """Whether one of the failed expectations is critical."""
        return any(item.is_critical for item in self.failed)


def run_suite(topic: str, rows: Sequence[Mapping[str, Any]]) -> SuiteVerdict:
    """Run a topic's suite in Great Expectations.

    Args:
        topic: Topic with a file in `generated/`.
        rows: Rows by field name, all with the same names.

    Raises:
        FileNotFoundError: There is no suite for the topic; `opsgraph contracts sync` writes it.
    """
    described = json.loads((SUITES / f"{topic}.json").read_text())
    if not rows:
        return SuiteVerdict(0, len(described["expectations"]), ())
    import great_expectations as gx
    import pandas as pd
    from great_expectations.core.expectation_suite import ExpectationSuite

    library: Any = gx  # its types are partly unknown
    context = library.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas(topic)
    definition = source.add_dataframe_asset(topic).add_batch_definition_whole_dataframe("newest")
    frame = pd.DataFrame([dict(row) for row in rows])
    result = definition.get_batch({"dataframe": frame}).validate(ExpectationSuite(**described))
    failed = [_failed(item) for item in result.results if not item.success]
    ordered = sorted(failed, key=lambda item: (not item.is_critical, item.column, item.kind))
    return SuiteVerdict(len(rows), len(described["expectations"]), tuple(ordered))


def _failed(result: Any) -> FailedExpectation:
    config = result.expectation_config
    is_critical = str(getattr(config.severity, "value", config.severity)) == CRITICAL
    return FailedExpectation(
        config.kwargs["column"], config.type, is_critical, result.result.get("unexpected_count")
    )
