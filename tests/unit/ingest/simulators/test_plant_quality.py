"""Inspections: learnable from what a model may read, and counts that add up."""

import polars as pl
import pytest

from orchestration.environment import PROJECT_ROOT
from orchestration.ingest.simulators.fleet import METRICS
from orchestration.ingest.simulators.plant import QUALITY, SENSORS, SimulatedWindow
from orchestration.ingest.simulators.quality import DEFECT_TYPES


@pytest.fixture(scope="module")
def inspections(history: SimulatedWindow) -> pl.DataFrame:
    """Inspections without repeats, by time."""
    return history.frames[QUALITY].unique("inspection_id").sort("event_at", "equipment_id")


def test_counts_add_up(inspections: pl.DataFrame) -> None:
    """Forbids more defects than inspected units, and OEE factors outside 0 to 1."""
    assert (inspections["defect_count"] <= inspections["inspected_count"]).all()
    assert (inspections["inspected_count"] <= inspections["produced_count"]).all()
    assert (inspections["run_s"] <= inspections["planned_run_s"]).all()
    speed = inspections["produced_count"] * inspections["ideal_cycle_s"] / inspections["run_s"]
    assert speed.is_between(0.5, 1.0).all()
    good = inspections["quality_class"] == "Good Quality"
    assert (inspections["defect_type"].is_null() == good).all()


def test_standstill_counts_as_planned_time(inspections: pl.DataFrame) -> None:
    """Forbids repairs that availability never sees: planned time runs on until the next inspection."""
    availability = inspections["run_s"].sum() / inspections["planned_run_s"].sum()
    # About 107 repairs of 8 h on 11 of 20 machines and waits of 1.7 h on 30 % of the days, in 16 to 24
    # planned hours a day: 5 to 10 % of the planned time.
    assert 0.88 <= availability <= 0.96
    assert inspections["planned_run_s"].max() > 4 * 3600.0


def test_most_lots_are_good_and_every_class_occurs(inspections: pl.DataFrame) -> None:
    """Forbids a class that a model could not learn, or a majority that makes learning pointless."""
    shares = {
        row[0]: row[1] / inspections.height for row in inspections["quality_class"].value_counts().iter_rows()
    }
    assert 0.65 <= shares["Good Quality"] <= 0.75
    assert set(shares) == {"Good Quality", "Minor Defect", "Major Defect", "Reject"}
    assert min(shares.values()) >= 0.03


def test_class_is_learnable_from_readings_and_conditions(
    inspections: pl.DataFrame, history: SimulatedWindow
) -> None:
    """Forbids inspections that are noise: a plain model, split by time, beats the majority by far."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    period = (
        history.frames[SENSORS]
        .filter(pl.col("rotation_rpm") > 0.0)
        .with_columns(inspected_at=pl.col("event_at").dt.truncate("2h").dt.offset_by("2h"))
        .group_by("equipment_id", "inspected_at")
        .agg(pl.col(METRICS).mean())
    )
    joined = inspections.join(
        period, left_on=["equipment_id", "event_at"], right_on=["equipment_id", "inspected_at"], how="left"
    ).sort("event_at", "equipment_id")
    inputs = joined.select(
        *METRICS,
        "ambient_temperature_c",
        "humidity_percent",
        "operator_experience_years",
        pl.col("material_grade").rank("dense"),
        pl.col("equipment_id").str.slice(0, 3).rank("dense").alias("model"),
    ).to_numpy()
    classes = joined["quality_class"].to_numpy()
    cut = int(0.7 * len(classes))

    with threadpool_limits(1):
        model = HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=15, early_stopping=False)
        guesses = model.fit(inputs[:cut], classes[:cut]).predict(inputs[cut:])

    accuracy = float((guesses == classes[cut:]).mean())
    majority = float((classes[cut:] == "Good Quality").mean())
    assert accuracy > 0.85
    assert accuracy > majority + 0.15


def test_defect_types_are_those_of_the_dimension(inspections: pl.DataFrame) -> None:
    """Forbids defects that `dim_defect_types` does not know: the warehouse's relationship test blocks."""
    seed = pl.read_csv(PROJECT_ROOT / "dbt_project" / "seeds" / "seed_defect_types.csv")
    found = set(inspections["defect_type"].drop_nulls())
    assert found == set(DEFECT_TYPES)
    assert found <= set(seed["defect_type"])
