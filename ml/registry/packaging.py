"""A failure model as an MLflow model folder that holds no pickle.

The folder has the booster and its settings as JSON and a copy of `served_failure_model.py`, which MLflow
runs ("models from code") to load it. A pickle would run whatever it contains, and would break with the
next version of a library.
"""

# MLflow leaves most of its signatures untyped.
# pyright: reportUnknownVariableType=false

from pathlib import Path

import numpy as np
import pandas as pd

from ml.models.failure import FailureModel

MODEL_FOLDER = "failure_model"
# Named without versions: the serving environment is the project's own lock file.
REQUIREMENTS = ["opsgraph", "xgboost", "scikit-learn", "polars", "numpy", "pandas"]


def save_pyfunc(model: FailureModel, example: np.ndarray, folder: Path) -> Path:
    """Write the MLflow model folder and return its path.

    Args:
        model: What to package.
        example: Shape (rows, features): example of the input, which also gives the signature.
        folder: Existing folder to write below.
    """
    from mlflow.models import infer_signature
    from mlflow.pyfunc import save_model

    native = folder / MODEL_FOLDER
    model.save(native)
    frame = pd.DataFrame(example.astype(np.float64), columns=list(model.features.names))
    probability = model.probability(example)
    output = pd.DataFrame({"failure_probability": probability, "is_alert": model.is_alert(probability)})
    target = folder / "model"
    save_model(
        path=str(target),
        python_model=str(Path(__file__).parent / "served_failure_model.py"),
        artifacts={MODEL_FOLDER: str(native)},
        signature=infer_signature(frame, output),
        input_example=frame,
        pip_requirements=REQUIREMENTS,
    )
    return target
