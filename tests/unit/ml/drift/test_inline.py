"""Drift of one batch, and the compiled expectation suite against Great Expectations itself."""

import json
from pathlib import Path

import numpy as np
import pytest

from ml.drift.expectations import ExpectationSuite, UnsupportedExpectationError
from ml.drift.inline import Baseline, inline_drift

SUITE = {
    "expectations": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "a", "min_value": 0, "max_value": 9},
        },
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "b", "mostly": 0.5}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "c", "value_set": [1, 2]}},
        {
            "type": "expect_column_mean_to_be_between",
            "kwargs": {"column": "a", "min_value": 2, "max_value": 6},
        },
    ]
}


def test_score_does_not_grow_with_the_batch() -> None:
    """Forbids an alarm that follows the batch's size: 4 deviations off is 4, for one row and for 1,000."""
    baseline = Baseline(np.array([10.0]), np.array([2.0]))
    one = inline_drift(np.array([[18.0]]), baseline, None)  # (18 − 10) / 2 = 4
    many = inline_drift(np.full((1000, 1), 18.0), baseline, None)
    assert one.score == many.score == 4.0
    assert not one.detected


def test_far_batch_is_drift_and_missing_values_are_not() -> None:
    """Forbids NaN turning into a score, or a far feature hiding behind the mean over features."""
    baseline = Baseline(np.array([0.0, 0.0]), np.array([1.0, 1.0]))
    assert inline_drift(np.array([[np.nan, 5.1]]), baseline, None).detected  # 5.1 > 5
    assert inline_drift(np.array([[np.nan, np.nan]]), baseline, None).score == 0.0


def test_constant_feature_that_changes_has_a_finite_score() -> None:
    """Forbids a score that JSON can't carry."""
    found = inline_drift(np.array([[1.0]]), Baseline(np.array([0.0]), np.array([0.0])), None)
    assert found.detected
    assert np.isfinite(found.score)


def test_baseline_survives_its_file(tmp_path: Path) -> None:
    """Forbids reading mean and deviation as two training rows."""
    rows = np.array([[1.0, np.nan], [3.0, 4.0], [5.0, 8.0]])
    baseline = Baseline.of_rows(rows)
    np.save(tmp_path / "baseline.npy", baseline.to_array())
    read = Baseline.load(tmp_path / "baseline.npy")
    # Second column: mean of 4 and 8, deviation 2.
    assert read.mean.tolist() == [3.0, 6.0]
    assert read.deviation[1] == 2.0


@pytest.mark.parametrize(
    "rows",
    [
        [[3.0, 1.0, 1.0], [5.0, np.nan, 2.0]],  # holds: half of b is there
        [[3.0, np.nan, 1.0], [12.0, np.nan, 3.0]],  # a too large, b missing, c unknown, mean 7.5
    ],
)
def test_compiled_suite_agrees_with_great_expectations(rows: list[list[float]]) -> None:
    """Forbids a serving path that judges otherwise than the suite's own tool."""
    import great_expectations as gx
    import pandas as pd

    inputs = np.array(rows)
    suite = ExpectationSuite.parse(SUITE, ["a", "b", "c"])
    ours = [not _violates(suite, index, inputs) for index in range(len(suite.expectations))]
    context = gx.get_context(mode="ephemeral")
    frame = pd.DataFrame(inputs, columns=["a", "b", "c"])
    batch = (
        context.data_sources.add_pandas("p")
        .add_dataframe_asset("a")
        .add_batch_definition_whole_dataframe("b")
    ).get_batch({"dataframe": frame})
    theirs = [
        bool(batch.validate(_expectation(gx, item["type"], item["kwargs"])).success)
        for item in SUITE["expectations"]
    ]
    assert ours == theirs


def _violates(suite: ExpectationSuite, index: int, inputs: np.ndarray) -> bool:
    return bool(ExpectationSuite(suite.columns, (suite.expectations[index],)).violations(inputs))


def _expectation(gx: object, kind: str, kwargs: dict[str, object]) -> object:
    name = "".join(part.capitalize() for part in kind.split("_"))
    return getattr(gx.expectations, name)(**kwargs)  # type: ignore[attr-defined]


def test_unknown_expectation_is_refused() -> None:
    """Forbids passing over an expectation in silence."""
    suite = {
        "expectations": [{"type": "expect_column_kl_divergence_to_be_less_than", "kwargs": {"column": "a"}}]
    }
    with pytest.raises(UnsupportedExpectationError, match="kl_divergence"):
        ExpectationSuite.parse(json.loads(json.dumps(suite)), ["a"])
