"""The registry's champions as a source of models: each tenant its own, exchanged while requests run.

The promotion ledger says what serves; a change there is loaded in the background and put in place in one
assignment. A challenger that waits for approval runs in shadow beside its champion.
"""

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg

from ml.registry.promotions import serving, waiting
from ml.serving.bounds import Bounds
from ml.serving.loaded import FailureScores, LoadedModel, NotServedError

if TYPE_CHECKING:
    from ml.registry.client import ModelRegistry, RegisteredVersion

log = logging.getLogger(__name__)

Key = tuple[str, str]


class ChampionModels:
    """What the ledger says serves, in memory.

    Args:
        database_url: The opsgraph database, for the ledger.
        tracking_uri: MLflow server, for the artefacts.
        names: Registered models to serve; the first is the default.
    """

    def __init__(self, database_url: str, tracking_uri: str, names: Sequence[str]) -> None:
        self._database_url = database_url
        self._tracking_uri = tracking_uri
        self._names = tuple(names)
        self._champions: dict[Key, LoadedModel] = {}
        self._challengers: dict[Key, LoadedModel] = {}
        self._registry: ModelRegistry | None = None
        self._stop = threading.Event()

    def get(self, tenant_id: str | None, name: str | None) -> LoadedModel:
        """A tenant's champion.

        Raises:
            NotServedError: The tenant has none of this model, or must be named.
        """
        wanted, champions = name or self._names[0], self._champions
        if tenant_id is None:
            of_model = [key for key in champions if key[1] == wanted]
            if len(of_model) > 1:
                named = ", ".join(sorted(tenant for tenant, _ in of_model))
                raise NotServedError(f"{wanted} serves several tenants: name tenant_id, one of {named}.")
            tenant_id = of_model[0][0] if of_model else ""
        found = champions.get((tenant_id, wanted))
        if found is None:
            raise NotServedError(
                f"Tenant {tenant_id or '(none)'} has no champion of {wanted}. Train one with "
                "`opsgraph train`; it serves a few seconds after its promotion."
            )
        return found

    def challenger(self, served: LoadedModel) -> LoadedModel | None:
        """The version that waits for approval; None without one."""
        return self._challengers.get((served.tenant_id, served.name))

    def served(self) -> list[LoadedModel]:
        """Every champion, by tenant and model."""
        return [found for _, found in sorted(self._champions.items())]

    def refresh(self) -> int:
        """Load what changed in the ledger; returns how many versions were exchanged."""
        with psycopg.connect(self._database_url) as connection:
            now = {(row.tenant_id, row.model_name): row.model_version for row in serving(connection)}
            shadows = {(row.tenant_id, row.model_name): row.model_version for row in waiting(connection)}
        self._champions, loaded = self._exchanged(self._champions, now)
        self._challengers, shadowed = self._exchanged(self._challengers, shadows)
        return loaded + shadowed

    def watch(self, every_s: float = 5.0) -> None:
        """Refresh in the background until `close`; a ledger that can't be reached keeps what serves."""

        def run() -> None:
            while True:
                try:
                    self.refresh()
                except Exception as error:
                    log.warning("Could not look for new champions: %s. What is loaded serves on.", error)
                if self._stop.wait(every_s):
                    return

        threading.Thread(target=run, name="reload-champions", daemon=True).start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()

    def _exchanged(
        self, loaded: dict[Key, LoadedModel], wanted: dict[Key, str]
    ) -> tuple[dict[Key, LoadedModel], int]:
        wanted = {key: version for key, version in wanted.items() if key[1] in self._names}
        found: dict[Key, LoadedModel] = {}
        changes = 0
        for key, version in wanted.items():
            present = loaded.get(key)
            if present is not None and present.version == version:
                found[key] = present
                continue
            try:
                found[key] = self._load(key[1], version)
                changes += 1
                log.info("%s version %s of tenant %s is loaded", key[1], version, key[0])
            except Exception as error:
                log.warning("%s version %s can't be loaded: %s. The old one serves.", key[1], version, error)
                if present is not None:
                    found[key] = present
        return found, changes

    def _load(self, name: str, version: str) -> LoadedModel:
        # MLflow takes two seconds to import: the API answers its health before that.
        from ml.registry.client import ModelRegistry

        if self._registry is None:
            self._registry = ModelRegistry(self._tracking_uri)
        registered = self._registry.version(name, version)
        return _loaded(self._registry, registered)


def _loaded(registry: "ModelRegistry", version: "RegisteredVersion") -> LoadedModel:
    from ml.drift.expectations import ExpectationSuite
    from ml.drift.inline import Baseline

    model, usual = registry.load(version), registry.usual(version)
    columns, suite = model.features.names, usual.expectations
    return LoadedModel(
        name=version.name,
        version=version.version,
        tenant_id=version.tenant_id,
        predictor=FailureScores(model),
        columns=columns,
        baseline=None if usual.baseline is None else Baseline.of_array(usual.baseline),
        expectations=None if suite is None else ExpectationSuite.parse(suite, columns),
        bounds=None if suite is None else Bounds.of_suite(suite, columns),
    )
