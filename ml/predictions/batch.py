"""Score the latest known hour of each machine with a served model."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from ml.features.build import LOOK_BACK, FeatureFrame, build_features
from ml.features.history import PlantHistory
from ml.models.explanations import NOTHING_UNUSUAL, explain
from ml.models.failure import FailureModel
from ml.models.risk import RiskLevel, recommended_action, risk_band

# A machine that was silent for longer is not scored: its last readings say nothing about now.
LONGEST_SILENCE = timedelta(hours=24)


@dataclass(frozen=True)
class FailurePrediction:
    """One machine, one horizon, one instant.

    Attributes:
        equipment_id: Machine.
        as_of: Instant that was scored.
        hour_at: The machine's last hour by then.
        horizon_hours: Horizon.
        failure_probability: Calibrated.
        is_alert: Whether it reaches the model's alert threshold.
        risk_level: In words.
        recommended_action: What to do.
        contributing_factors: Reasons in words, strongest first; at least one.
    """

    equipment_id: str
    as_of: datetime
    hour_at: datetime
    horizon_hours: int
    failure_probability: float
    is_alert: bool
    risk_level: RiskLevel
    recommended_action: str
    contributing_factors: tuple[str, ...]


def predict_latest(history: PlantHistory, model: FailureModel, as_of: datetime) -> list[FailurePrediction]:
    """Predict every machine that was heard of in the last 24 h before an instant.

    Args:
        history: Rows known at `as_of`, of at least the 31 days before it.
        model: What serves.
        as_of: UTC-aware. The hour that is still running counts with the readings so far.
    """
    return predict_at(history, model, [as_of])


def predict_at(
    history: PlantHistory, model: FailureModel, instants: Sequence[datetime]
) -> list[FailurePrediction]:
    """Predict at several instants, in order, from one computation of the features.

    Rows in `history` that were not known at an instant would leak into it; for a backfill of instants far
    apart, features look back only and late rows are masked, so only corrections of past hours differ.
    """
    frame = build_features(history, model.features)
    predictions: list[FailurePrediction] = []
    for as_of in instants:
        predictions += _predict(_latest_rows(frame, as_of), model, as_of)
    return predictions


def earliest_hour(instants: Sequence[datetime]) -> datetime:
    """The first hour that a history must hold to predict at these instants."""
    return min(instants) - LOOK_BACK - LONGEST_SILENCE


def _latest_rows(frame: FeatureFrame, as_of: datetime) -> FeatureFrame:
    # The running hour ends after `as_of`; it holds what was read so far.
    by_then = (pl.col("hour_at") < as_of + timedelta(hours=1)) & (pl.col("hour_at") > as_of - LONGEST_SILENCE)
    rows = (
        frame.keys.with_row_index()
        .filter(by_then)
        .group_by("equipment_id")
        .agg(pl.col("index").last())
        .sort("equipment_id")["index"]
        .to_list()
    )
    return FeatureFrame(frame.keys[rows], frame.values[rows], frame.features)


def _predict(frame: FeatureFrame, model: FailureModel, as_of: datetime) -> list[FailurePrediction]:
    if frame.keys.is_empty():
        return []
    probability = model.probability(frame.values)
    is_alert = model.is_alert(probability)
    contributions = model.contributions(frame.values)
    found: list[FailurePrediction] = []
    for row, (equipment_id, hour_at) in enumerate(frame.keys.iter_rows()):
        reasons = explain(model.features, frame.values[row], contributions[row])
        said = float(min(max(probability[row], 0.0), 1.0))
        found.append(
            FailurePrediction(
                equipment_id=equipment_id,
                as_of=as_of,
                hour_at=hour_at,
                horizon_hours=model.horizon_hours,
                failure_probability=said,
                is_alert=bool(is_alert[row]),
                risk_level=risk_band(said).level,
                recommended_action=recommended_action(
                    said, reasons[0].focus if reasons else "the machine", model.horizon_hours
                ),
                contributing_factors=tuple(reason.sentence for reason in reasons) or (NOTHING_UNUSUAL,),
            )
        )
    return found
