"""Public sets by their form: readers, quality scores, remaining life, on small made-up files."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ml.anomaly.skab import judge_skab
from ml.datasets.tables import TableFormatError, tables_below
from ml.quality.classifier import ClassifierParameters
from ml.quality.scores import class_scores
from ml.quality.steel_plates import judge_steel_plates
from ml.remaining_life.cmapss import judge_cmapss, to_json
from ml.remaining_life.features import Conditions, features
from ml.remaining_life.fleet import Fleet
from ml.remaining_life.model import LifeParameters


def test_packed_and_plain_files_are_the_same_table_once(tmp_path: Path) -> None:
    """Forbids counting a file twice that stands there packed and unpacked."""
    (tmp_path / "1.csv").write_text("a\n1\n")
    with gzip.open(tmp_path / "1.csv.gz", "wt") as packed:
        packed.write("a\n1\n")
    (tmp_path / "notes.md").write_text("no table")
    assert [path.name for path in tables_below(tmp_path)] == ["1.csv"]
    with pytest.raises(TableFormatError, match="no table"):
        tables_below(tmp_path / "notes.md")


def test_skab_form_is_judged_after_its_training_rows(tmp_path: Path) -> None:
    """Forbids training on the judged rows: a clear fault from row 600 on is found with few false alarms."""
    draws = np.random.default_rng(3)
    values = draws.normal(size=(900, 3))
    values[600:] += 6.0 * draws.normal(size=(300, 3))
    frame = pl.DataFrame(values, schema=["x", "y", "z"]).with_columns(
        pl.Series("anomaly", (np.arange(900) >= 600).astype(float)), pl.lit(0.0).alias("changepoint")
    )
    frame.write_csv(tmp_path / "any.csv", separator=";")
    found = judge_skab(tmp_path).to_json()
    assert found["rows"] == 500
    assert found["f1"] > 0.9
    assert found["far_percent"] < 5
    # 300 of 500 judged rows are anomalous: always alarming has F1 2 * 300 / (500 + 300).
    assert found["always_alarm_f1"] == pytest.approx(0.75)


def test_class_scores_of_a_known_confusion() -> None:
    """Forbids another average: classes of F1 2/3 and 4/5 have macro F1 11/15."""
    # Class a: 1 hit, 1 missed, none false. Class b: 2 hits, 1 false.
    truth, said = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    scores = class_scores(truth, said, ("a", "b"), majority=1)
    assert scores.accuracy == 0.75
    assert scores.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores.majority_accuracy == 0.5
    assert scores.confusion == ((1, 1), (0, 2))


def test_the_answer_is_no_input_of_the_plates(tmp_path: Path) -> None:
    """Forbids a second target column among the inputs: on noise the accuracy must stay near chance."""
    draws = np.random.default_rng(8)
    label = draws.integers(0, 3, 300)
    frame = pl.DataFrame({f"x{column}": draws.normal(size=300) for column in range(5)}).with_columns(
        pl.Series("failure.type", label), pl.Series("target", (label > 0).astype(int))
    )
    frame.write_csv(tmp_path / "plates.csv")
    assert judge_steel_plates(tmp_path, 1, ClassifierParameters(trees=10)).accuracy < 0.5


def test_life_sets_are_found_by_name_and_their_score_is_capped(tmp_path: Path) -> None:
    """Forbids a hidden set name, and a capped score without the uncapped one beside it."""
    draws = np.random.default_rng(5)

    def run(units: int, cut: bool) -> tuple[str, list[int]]:
        lines, left = [], []
        for unit in range(1, units + 1):
            life = int(draws.integers(120, 200))
            last = int(draws.integers(40, life - 10)) if cut else life
            left.append(life - last)
            for cycle in range(1, last + 1):
                wear = (cycle / life) ** 3
                sensors = " ".join(f"{part + wear + 0.02 * draws.normal():.4f}" for part in range(3))
                lines.append(f"{unit} {cycle} 0.0 0.0 100.0 {sensors}")
        return "\n".join(lines), left

    (tmp_path / "train_ANY7.txt").write_text(run(15, cut=False)[0])
    tested, left = run(10, cut=True)
    (tmp_path / "test_ANY7.txt").write_text(tested)
    (tmp_path / "RUL_ANY7.txt").write_text("\n".join(map(str, left)))
    found = to_json(judge_cmapss(tmp_path, LifeParameters(trees=40, min_child_weight=5, seeds=1)))
    assert found["rmse_any7"] < 0.8 * found["rmse_of_mean_any7"]
    assert {"rmse_any7", "rmse_uncapped_any7"} <= set(found)


def test_conditions_are_found_and_taken_out() -> None:
    """Forbids sensors that show the operating condition instead of wear: three conditions, means near 0."""
    draws = np.random.default_rng(1)
    rows = 600
    condition = draws.integers(0, 3, rows)
    fleet = Fleet(
        unit=np.repeat(np.arange(6), 100),
        cycle=np.tile(np.arange(1.0, 101.0), 6),
        settings=np.array([[0.0, 0.0], [10.0, 0.5], [40.0, 0.9]])[condition]
        + 0.001 * draws.normal(size=(rows, 2)),
        sensors=100.0 * condition[:, None] + draws.normal(size=(rows, 2)),
    )
    found = Conditions.fit(fleet)
    assert len(found.centre) == 3
    scaled = found.standardised(fleet)
    assert np.abs(scaled).max() < 6
    assert abs(np.corrcoef(scaled[:, 0], condition)[0, 1]) < 0.1


def test_features_of_a_row_know_nothing_later() -> None:
    """Forbids a feature from a unit's future: cutting its last rows changes no earlier row."""
    draws = np.random.default_rng(2)
    whole = Fleet(
        np.repeat(np.arange(2), 60),
        np.tile(np.arange(1.0, 61.0), 2),
        np.zeros((120, 3)),
        draws.normal(size=(120, 4)),
    )
    conditions = Conditions.fit(whole)
    kept = whole.cycle <= 40
    cut = Fleet(whole.unit[kept], whole.cycle[kept], whole.settings[kept], whole.sensors[kept])
    np.testing.assert_allclose(features(cut, conditions), features(whole, conditions)[kept], atol=1e-5)
