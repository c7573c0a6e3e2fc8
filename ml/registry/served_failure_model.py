"""How MLflow loads and calls a failure model. MLflow copies this file into each model folder and runs it.

Keep it small: what changes here does not change in versions that are already registered.
"""

# MLflow re-exports what it does not declare, and types its base class to return nothing.
# pyright: reportPrivateImportUsage=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportIncompatibleMethodOverride=false

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from ml.models.failure import FailureModel


class ServedFailureModel(PythonModel):
    """Named features in, probability and alert out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read booster and settings from the model folder."""
        self.model = FailureModel.load(Path(str(context.artifacts["failure_model"])))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Columns `failure_probability` and `is_alert`, one row per input row."""
        values = model_input[list(self.model.features.names)].to_numpy(dtype=np.float32)
        probability = self.model.probability(values)
        return pd.DataFrame(
            {"failure_probability": probability, "is_alert": self.model.is_alert(probability)}
        )


set_model(ServedFailureModel())
