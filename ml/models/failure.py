"""The failure model: booster, calibrator, alert threshold and the features that it expects."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb

from ml.features.specs import FeatureSet
from ml.models.calibration import Calibrator, calibrator_from_json

BOOSTER_FILE = "booster.json"
SETTINGS_FILE = "model.json"


@dataclass(frozen=True)
class FailureModel:
    """Predicts whether a machine fails within the horizon.

    Attributes:
        booster: Trained on `features.names`, in that order.
        calibrator: From margins to probabilities.
        threshold: Probability from which an hour is an alert.
        horizon_hours: How far ahead it looks.
        features: Columns of the input.
    """

    booster: xgb.Booster
    calibrator: Calibrator
    threshold: float
    horizon_hours: int
    features: FeatureSet

    def margin(self, values: np.ndarray) -> np.ndarray:
        """Uncalibrated log odds, shape (rows,).

        Args:
            values: Shape (rows, features), NaN where missing.
        """
        return np.asarray(self.booster.inplace_predict(values, predict_type="margin"), dtype=np.float64)

    def probability(self, values: np.ndarray) -> np.ndarray:
        """Calibrated probability of a failure within the horizon, shape (rows,)."""
        return self.calibrator.probability(self.margin(values))

    def is_alert(self, probability: np.ndarray) -> np.ndarray:
        """Whether each probability reaches the alert threshold."""
        return probability >= self.threshold

    def contributions(self, values: np.ndarray) -> np.ndarray:
        """Share of each feature in the margin, shape (rows, features); exact (TreeSHAP)."""
        matrix = xgb.DMatrix(values, feature_names=list(self.features.names))
        with_bias = self.booster.predict(matrix, pred_contribs=True)
        return np.asarray(with_bias, dtype=np.float64)[:, :-1]

    def save(self, folder: Path) -> None:
        """Write booster and settings as JSON, so that loading runs no code from the artefact."""
        folder.mkdir(parents=True, exist_ok=True)
        self.booster.save_model(folder / BOOSTER_FILE)
        (folder / SETTINGS_FILE).write_text(json.dumps(self._settings(), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "FailureModel":
        """Read what `save` wrote."""
        booster = xgb.Booster()
        booster.load_model(str(folder / BOOSTER_FILE))  # pyright: ignore[reportUnknownMemberType]
        return cls._of(json.loads((folder / SETTINGS_FILE).read_text()), booster)

    def to_json(self) -> dict[str, Any]:
        """Booster and settings as one document: a model in one file without pickle."""
        return {**self._settings(), "booster": json.loads(self.booster.save_raw("json"))}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "FailureModel":
        """Rebuild a model that `to_json` wrote.

        Raises:
            ValueError: The document is no failure model.
        """
        if "booster" not in content or "calibrator" not in content:
            raise ValueError("The document has no booster and calibrator: it is no failure model.")
        booster = xgb.Booster()
        document = bytearray(json.dumps(content["booster"]).encode())
        booster.load_model(document)  # pyright: ignore[reportUnknownMemberType]
        return cls._of(content, booster)

    def _settings(self) -> dict[str, Any]:
        return {
            "horizon_hours": self.horizon_hours,
            "threshold": self.threshold,
            "calibrator": self.calibrator.to_json(),
            "features": self.features.to_json(),
        }

    @classmethod
    def _of(cls, settings: dict[str, Any], booster: xgb.Booster) -> "FailureModel":
        # One row is scored in 0.2 ms by one thread; a pool per model only waits at its barriers.
        booster.set_param("nthread", "1")  # pyright: ignore[reportUnknownMemberType]
        return cls(
            booster=booster,
            calibrator=calibrator_from_json(settings["calibrator"]),
            threshold=float(settings["threshold"]),
            horizon_hours=int(settings["horizon_hours"]),
            features=FeatureSet.from_json(settings["features"]),
        )
