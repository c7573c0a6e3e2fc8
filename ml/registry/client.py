"""Runs, versions and aliases through `MlflowClient` alone: no global tracking state is touched."""

# MLflow leaves most of its signatures untyped.
# pyright: reportUnknownMemberType=false

import json
import logging
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ml.models.failure import FailureModel
from ml.registry.packaging import MODEL_FOLDER, save_pyfunc

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

OUT_OF_FOLD_FILE = "out_of_fold.parquet"
MODEL_CARD_FILE = "model_card.md"
BASELINE_FILE = "baseline.npy"
EXPECTATIONS_FILE = "expectations.json"
# MLflow refuses longer parameter values.
_LONGEST_PARAMETER = 6000


class NoChampionError(LookupError):
    """A tenant has no champion of a model; the message says how to get one."""


@dataclass(frozen=True)
class VersionKey:
    """What makes a model version: equal keys are the same model, trained once.

    Attributes:
        name: Registered model, `failure-24h` or `failure-7d`.
        tenant_id: Owner.
        data_digest: Digest of the training data.
        code_version: Digest of the code that made features and fit.
        params_hash: Digest of the parameters.
    """

    name: str
    tenant_id: str
    data_digest: str
    code_version: str
    params_hash: str

    def tags(self) -> dict[str, str]:
        """The key as tags of run and version."""
        return {
            "tenant": self.tenant_id,
            "data_digest": self.data_digest,
            "code_version": self.code_version,
            "params_hash": self.params_hash,
        }


@dataclass(frozen=True)
class Candidate:
    """A trained model with everything that its run keeps.

    Attributes:
        key: Identity.
        model: The model.
        params: Logged as parameters.
        metrics: Logged as metrics; finite.
        documents: File name → text or JSON-able content.
        figures: File name → picture.
        out_of_fold: Predictions that later challengers are compared on.
        example: Shape (rows, features): the input example of the signature.
        tags: More tags, for example links back to the orchestrator.
        usual: What the input looked like in training, for the drift check while serving.
    """

    key: VersionKey
    model: FailureModel
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    documents: Mapping[str, Any]
    figures: Mapping[str, "Figure"]
    out_of_fold: pl.DataFrame
    example: "np.ndarray"
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    usual: "UsualInput" = field(default_factory=lambda: UsualInput())


@dataclass(frozen=True)
class UsualInput:
    """What a model's input looked like in training.

    Attributes:
        baseline: Mean and deviation per feature, shape (2, features), NaN where it is not watched.
        expectations: Great Expectations suite over the features.
    """

    baseline: "np.ndarray | None" = None
    expectations: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RegisteredVersion:
    """One version in the registry.

    Attributes:
        name: Registered model.
        version: Number, as text.
        run_id: MLflow run that made it.
        tenant_id: Owner.
        tags: All tags of the version.
    """

    name: str
    version: str
    run_id: str
    tenant_id: str
    tags: Mapping[str, str]

    @property
    def data_digest(self) -> str:
        """Digest of the data that it was trained on."""
        return self.tags.get("data_digest", "")


@dataclass(frozen=True)
class ServedModel:
    """A loaded model with the version that it is."""

    model: FailureModel
    version: RegisteredVersion


class ModelRegistry:
    """The registry of one MLflow server."""

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri.rstrip("/")

    @cached_property
    def _client(self) -> "MlflowClient":
        from mlflow import environment_variables as switches
        from mlflow.tracking import MlflowClient

        # Its progress bars and links would stand between the lines of the command line and of run logs.
        switches.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(value=False)
        switches.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(value=True)
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    @property
    def mlflow(self) -> "MlflowClient":
        """The client behind this registry, for versions that are no failure models."""
        return self._client

    def register(self, candidate: Candidate) -> RegisteredVersion:
        """Log a run, register its model as a new version and make it the tenant's challenger."""
        from mlflow.exceptions import MlflowException

        key = candidate.key
        try:
            self._client.create_registered_model(
                key.name, description=f"Machine fails within {candidate.model.horizon_hours} h. All tenants."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment_id = self._experiment(key.name)
        with self._run(experiment_id, f"{key.name} {key.tenant_id}", candidate) as run_id:
            model_id = self._log_model(experiment_id, run_id, candidate)
            created = self._client.create_model_version(
                key.name,
                source=f"models:/{model_id}",
                run_id=run_id,
                tags={**key.tags(), **candidate.tags},
                model_id=model_id,
            )
        for alias in ("challenger", f"challenger-{key.tenant_id}"):
            self._client.set_registered_model_alias(key.name, alias, str(created.version))
        return self.version(key.name, str(created.version))

    def find(self, key: VersionKey) -> RegisteredVersion | None:
        """The version with exactly this key, newest first, or None."""
        return self._newest(key.name, key.tags())

    def newest(
        self, name: str, tenant_id: str, code_version: str, params_hash: str
    ) -> RegisteredVersion | None:
        """A tenant's newest version of some code and parameters, whatever data it learned from, or None."""
        tags = {"tenant": tenant_id, "code_version": code_version, "params_hash": params_hash}
        return self._newest(name, tags)

    def _newest(self, name: str, tags: Mapping[str, str]) -> RegisteredVersion | None:
        conditions = [f"tags.{tag} = '{value}'" for tag, value in tags.items()]
        found = self._client.search_model_versions(" and ".join([f"name = '{name}'", *conditions]))
        ready = [_registered(version) for version in found]
        return max(ready, key=lambda version: int(version.version), default=None)

    def version(self, name: str, version: str) -> RegisteredVersion:
        """One version by its number."""
        return _registered(self._client.get_model_version(name, version))

    def by_alias(self, name: str, alias: str, tenant_id: str) -> RegisteredVersion | None:
        """The tenant's version under an alias (`champion` or `challenger`); None where there is none."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_model_version_by_alias(name, f"{alias}-{tenant_id}")
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        return _registered(found)

    def set_champion(self, name: str, version: str) -> RegisteredVersion:
        """Point the aliases `champion` and `champion-<tenant>` at a version."""
        promoted = self.version(name, version)
        for alias in ("champion", f"champion-{promoted.tenant_id}"):
            self._client.set_registered_model_alias(name, alias, version)
        return promoted

    def load_champion(self, name: str, tenant_id: str) -> ServedModel:
        """Load what serves a tenant.

        Raises:
            NoChampionError: Nothing was promoted for this tenant yet.
        """
        champion = self.by_alias(name, "champion", tenant_id)
        if champion is None:
            raise NoChampionError(
                f"Tenant {tenant_id} has no champion of {name} on {self.tracking_uri}. "
                "Train one with `opsgraph train`; it is promoted when it passes the gate."
            )
        return ServedModel(self.load(champion), champion)

    def load(self, version: RegisteredVersion) -> FailureModel:
        """Load a version from its artefact folder; runs no code from the artefact."""
        with tempfile.TemporaryDirectory(prefix="opsgraph-model-") as folder:
            path = self._download(version, Path(folder))
            return FailureModel.load(path / "artifacts" / MODEL_FOLDER)

    def usual(self, version: RegisteredVersion) -> UsualInput:
        """What the version's input looked like in training; empty for versions that did not keep it."""
        names = {file.path for file in self._client.list_artifacts(version.run_id)}
        with tempfile.TemporaryDirectory(prefix="opsgraph-model-") as folder:

            def fetched(name: str) -> Path | None:
                if name not in names:
                    return None
                return Path(self._client.download_artifacts(version.run_id, name, folder))

            baseline, suite = fetched(BASELINE_FILE), fetched(EXPECTATIONS_FILE)
            return UsualInput(
                baseline=None if baseline is None else np.load(baseline, allow_pickle=False),
                expectations=None if suite is None else json.loads(suite.read_text()),
            )

    def out_of_fold(self, version: RegisteredVersion) -> pl.DataFrame:
        """The out-of-fold predictions that a version was judged on."""
        with tempfile.TemporaryDirectory(prefix="opsgraph-model-") as folder:
            return pl.read_parquet(self._client.download_artifacts(version.run_id, OUT_OF_FOLD_FILE, folder))

    def metrics(self, version: RegisteredVersion) -> dict[str, float]:
        """The metrics of a version's run."""
        return dict(self._client.get_run(version.run_id).data.metrics)

    def run_url(self, version: RegisteredVersion) -> str:
        """Page of the version's run."""
        experiment_id = self._client.get_run(version.run_id).info.experiment_id
        return f"{self.tracking_uri}/#/experiments/{experiment_id}/runs/{version.run_id}"

    def version_url(self, version: RegisteredVersion) -> str:
        """Page of the version."""
        return f"{self.tracking_uri}/#/models/{version.name}/versions/{version.version}"

    def tag(self, version: RegisteredVersion, key: str, value: str) -> None:
        """Put a tag on a version."""
        self._client.set_model_version_tag(version.name, version.version, key, value)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return found.experiment_id if found else self._client.create_experiment(name)

    @contextmanager
    def _run(self, experiment_id: str, run_name: str, candidate: Candidate) -> Generator[str]:
        from mlflow.entities import Metric, Param, RunTag

        tags = {**candidate.key.tags(), **candidate.tags}
        run_id = self._client.create_run(experiment_id, run_name=run_name, tags=tags).info.run_id
        try:
            now = int(time.time() * 1000)
            self._client.log_batch(
                run_id,
                metrics=[Metric(name, value, now, 0) for name, value in candidate.metrics.items()],
                params=[
                    Param(name, str(value)[:_LONGEST_PARAMETER]) for name, value in candidate.params.items()
                ],
                tags=[RunTag("mlflow.note.content", str(candidate.documents.get(MODEL_CARD_FILE, "")))],
            )
            self._log_files(run_id, candidate)
            yield run_id
        except BaseException:
            self._client.set_terminated(run_id, "FAILED")
            raise
        self._client.set_terminated(run_id, "FINISHED")

    def _log_files(self, run_id: str, candidate: Candidate) -> None:
        with tempfile.TemporaryDirectory(prefix="opsgraph-run-") as name:
            folder = Path(name)
            for file_name, content in candidate.documents.items():
                if isinstance(content, str):
                    (folder / file_name).write_text(content)
                else:
                    self._client.log_dict(run_id, content, file_name)
            for file_name, figure in candidate.figures.items():
                figure.savefig(str(folder / file_name), dpi=110)
            candidate.out_of_fold.write_parquet(folder / OUT_OF_FOLD_FILE)
            if candidate.usual.baseline is not None:
                np.save(folder / BASELINE_FILE, candidate.usual.baseline, allow_pickle=False)
            if candidate.usual.expectations is not None:
                (folder / EXPECTATIONS_FILE).write_text(json.dumps(candidate.usual.expectations, indent=1))
            self._client.log_artifacts(run_id, str(folder))

    def _log_model(self, experiment_id: str, run_id: str, candidate: Candidate) -> str:
        from mlflow.entities import LoggedModelOutput

        with tempfile.TemporaryDirectory(prefix="opsgraph-model-") as name:
            folder = save_pyfunc(candidate.model, candidate.example, Path(name))
            logged = self._client.create_logged_model(
                experiment_id, name=candidate.key.name, source_run_id=run_id, tags=candidate.key.tags()
            )
            self._client.log_model_artifacts(logged.model_id, str(folder))
            self._client.finalize_logged_model(logged.model_id, "READY")
        self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
        return str(logged.model_id)

    def _download(self, version: RegisteredVersion, folder: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        # `models:/…` addresses are resolved against the global tracking address, whatever is passed along.
        source = str(self._client.get_model_version(version.name, version.version).source)
        location = self._client.get_logged_model(source.removeprefix("models:/")).artifact_location
        return Path(
            download_artifacts(artifact_uri=location, dst_path=str(folder), tracking_uri=self.tracking_uri)
        )


def _registered(version: "ModelVersion") -> RegisteredVersion:
    tags = {str(name): str(value) for name, value in dict(version.tags).items()}
    return RegisteredVersion(
        name=str(version.name),
        version=str(version.version),
        run_id=str(version.run_id),
        tenant_id=tags.get("tenant", ""),
        tags=tags,
    )
