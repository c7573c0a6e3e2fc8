"""A plain artefact folder as a source of models: three files, looked at again every few seconds."""

import hashlib
import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.drift.expectations import ExpectationSuite
from ml.drift.inline import Baseline
from ml.models.failure import FailureModel
from ml.serving.bounds import Bounds
from ml.serving.loaded import FailureScores, LoadedModel, NotServedError, Predictor, Scores

log = logging.getLogger(__name__)


class UnreadableModelError(RuntimeError):
    """The model file is absent or may not be loaded; the message says what to do."""


@dataclass(frozen=True)
class PickledEstimator:
    """An estimator with `predict`, as scikit-learn's are; loaded only where pickles are allowed."""

    estimator: Any

    def scores(self, inputs: np.ndarray) -> Scores:
        """What `predict` says, and the last column of `predict_proba` where there is one."""
        labels = np.asarray(self.estimator.predict(inputs)).tolist()
        if not hasattr(self.estimator, "predict_proba"):
            return Scores(labels, [])
        return Scores(labels, np.asarray(self.estimator.predict_proba(inputs))[:, -1].tolist())


class FolderModels:
    """Serves the model of a folder and takes a changed file without dropping a request."""

    def __init__(
        self, model_path: Path, baseline_path: Path, expectations_path: Path, allow_pickle: bool = False
    ) -> None:
        self._paths = (model_path, baseline_path, expectations_path)
        self._allow_pickle = allow_pickle
        self._stamp = self._stamps()
        self._current = self._load()
        self._stop = threading.Event()

    def get(self, tenant_id: str | None, name: str | None) -> LoadedModel:
        """The folder's one model.

        Raises:
            NotServedError: Another model was asked for by name.
        """
        if name is not None and name != self._current.name:
            raise NotServedError(f"{name} is not served here; {self._current.name} is.")
        return self._current

    def challenger(self, served: LoadedModel) -> None:
        """A folder has no challenger."""

    def served(self) -> list[LoadedModel]:
        """The one model."""
        return [self._current]

    def refresh(self) -> bool:
        """Load again when a file changed; a file that can't be read keeps what serves. True on a change."""
        stamp = self._stamps()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self._current = self._load()
        except Exception:
            log.exception("A changed model can't be loaded; %s serves on", self._current.version)
            return False
        log.info("Model %s version %s serves now", self._current.name, self._current.version)
        return True

    def watch(self, every_s: float) -> None:
        """Refresh in the background until `close`."""

        def run() -> None:
            while not self._stop.wait(every_s):
                self.refresh()

        threading.Thread(target=run, name="reload-model", daemon=True).start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        files = (*(model_file(path) for path in self._paths[:1]), *self._paths[1:])
        return tuple(
            (file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else (0, 0) for file in files
        )

    def _load(self) -> LoadedModel:
        path, (_, baseline_path, expectations_path) = model_file(self._paths[0]), self._paths
        predictor, columns = _read_model(path, self._allow_pickle)
        suite = json.loads(expectations_path.read_text()) if columns and expectations_path.exists() else None
        return LoadedModel(
            name=path.stem,
            version=hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest(),
            tenant_id="",
            predictor=predictor,
            columns=columns,
            baseline=Baseline.load(baseline_path) if baseline_path.exists() else None,
            expectations=None if suite is None else ExpectationSuite.parse(suite, columns),
            bounds=None if suite is None else Bounds.of_suite(suite, columns),
        )


def model_file(path: Path) -> Path:
    """The file that is read for `MODEL_PATH`: the JSON beside a pickle where there is one."""
    plain = path.with_suffix(".json")
    return plain if plain.exists() else path


def _read_model(path: Path, allow_pickle: bool) -> tuple[Predictor, tuple[str, ...]]:
    if not path.exists():
        raise UnreadableModelError(
            f"{path} does not exist and nothing was started. Write the artefacts with "
            "`opsgraph models export FOLDER` and point MODEL_PATH at the folder's model.json."
        )
    if path.suffix == ".json":
        model = FailureModel.from_json(json.loads(path.read_text()))
        return FailureScores(model), model.features.names
    if not allow_pickle:
        raise UnreadableModelError(
            f"{path} is a pickle, which runs whatever code it holds; nothing was started. Give model.json, "
            "or set ALLOW_PICKLE=true if you made the file yourself."
        )
    import joblib  # pyright: ignore[reportMissingTypeStubs]

    estimator: Any = joblib.load(path)  # pyright: ignore[reportUnknownMemberType]
    names = getattr(estimator, "feature_names_in_", ())
    return PickledEstimator(estimator), tuple(str(name) for name in names)
