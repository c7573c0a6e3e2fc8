"""Whether a challenger may serve: absolute bars first, then the champion on the same untouched rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from ml.evaluation.intervals import Estimate, by_machine
from ml.evaluation.probability import ranking
from ml.models.horizons import Horizon

LEAST_FAILURES_JUDGED = 5
LARGEST_CALIBRATION_ERROR = 0.1
# Rows that both versions were judged on; below one machine-month a difference is chance.
LEAST_COMMON_ROWS = 720


@dataclass(frozen=True)
class Criterion:
    """One bar of the gate.

    Attributes:
        name: In snake case.
        value: What the challenger reached.
        bar: What it must reach.
        is_held: Whether it did.
        words: The comparison in words.
    """

    name: str
    value: float
    bar: float
    is_held: bool
    words: str


@dataclass(frozen=True)
class Comparison:
    """Challenger minus champion in average precision, on the rows that both were judged on.

    Attributes:
        rows: How many rows.
        difference: With its interval from a paired bootstrap over blocks of one machine and one week;
            None with too few rows.
    """

    rows: int
    difference: Estimate | None

    @property
    def is_won(self) -> bool:
        """Better beyond noise; a tie is not a win."""
        return self.difference is not None and self.difference.low > 0

    @property
    def is_lost(self) -> bool:
        """Worse beyond noise."""
        return self.difference is not None and self.difference.high < 0

    def to_json(self) -> dict[str, float | int | None]:
        """Plain numbers for the ledger."""
        found = self.difference
        return {
            "rows": self.rows,
            "difference": found.value if found else None,
            "low": found.low if found else None,
            "high": found.high if found else None,
        }

    def __str__(self) -> str:
        if self.difference is None:
            return f"only {self.rows} rows were judged by both, {LEAST_COMMON_ROWS} are needed"
        return f"average precision differs by {self.difference} on {self.rows} rows that both were judged on"


def absolute_criteria(metrics: Mapping[str, float], horizon: Horizon) -> list[Criterion]:
    """Bars that hold for every version, champion or not.

    Args:
        metrics: As `EvaluationReport.metrics` gives them.
        horizon: Decides whether event scores must beat the error rule's.
    """
    failures = metrics.get("failures", 0.0)
    precision, rule_precision = metrics.get("average_precision", 0.0), metrics["error_24h_average_precision"]
    skill, ece = metrics.get("brier_skill", -1.0), metrics.get("ece", 1.0)
    found = [
        Criterion(
            "enough_failures",
            failures,
            LEAST_FAILURES_JUDGED,
            failures >= LEAST_FAILURES_JUDGED,
            f"{failures:.0f} failures judged, {LEAST_FAILURES_JUDGED} needed",
        ),
        Criterion(
            "ranks_better_than_error_rule",
            precision,
            rule_precision,
            precision > rule_precision,
            f"average precision {precision:.3f} against {rule_precision:.3f} of the error rule",
        ),
        Criterion(
            "beats_the_base_rate", skill, 0.0, skill > 0, f"Brier skill {skill:.3f} against the base rate"
        ),
        Criterion(
            "is_calibrated",
            ece,
            LARGEST_CALIBRATION_ERROR,
            ece <= LARGEST_CALIBRATION_ERROR,
            f"expected calibration error {ece:.4f}, at most {LARGEST_CALIBRATION_ERROR}",
        ),
    ]
    leaked = metrics.get("leaked_rows", 0.0)
    found.append(
        Criterion(
            "rebuilds_as_known",
            leaked,
            0.0,
            leaked == 0,
            f"{leaked:.0f} rows of a past training set depend on what became known later",
        )
    )
    if horizon.must_beat_rule_on_events:
        score, rule = metrics.get("event_f1", 0.0), metrics.get("error_24h_event_f1", 0.0)
        words = f"event F1 {score:.3f} against {rule:.3f} of the error rule"
        found.append(Criterion("alerts_better_than_error_rule", score, rule, score > rule, words))
    return found


def compare(
    challenger: pl.DataFrame, champion: pl.DataFrame, look_back: timedelta | None = None
) -> Comparison:
    """Compare two versions on the machine-hours that both were judged on.

    Args:
        challenger: Out-of-fold predictions: `equipment_id`, `hour_at`, `probability`, `is_failure`.
        champion: The same of the version that serves. Both are out-of-fold, so neither version's boosters
            had seen the machine or the period of any row.
        look_back: Length of the window, from the last common hour back; all of it by default.
    """
    on = ["equipment_id", "hour_at"]
    common = challenger.join(champion.select(*on, pl.col("probability").alias("of_champion")), on=on).sort(on)
    if look_back is not None and common.height:
        common = common.filter(pl.col("hour_at") > pl.col("hour_at").max() - look_back)
    if common.height < LEAST_COMMON_ROWS or not common["is_failure"].any():
        return Comparison(common.height, None)
    week = pl.col("hour_at").dt.truncate("1w")
    codes = (common.select(pl.struct("equipment_id", week).rank("dense")).to_series() - 1).to_numpy()
    labels = common["is_failure"].to_numpy()
    new, old = common["probability"].to_numpy(), common["of_champion"].to_numpy()

    of_new, of_old = ranking(new, labels), ranking(old, labels)

    def difference(weight: np.ndarray) -> float:
        return of_new(weight) - of_old(weight)

    return Comparison(common.height, by_machine(difference, codes.astype(np.int64)))
