"""The MLflow server as a Dagster resource."""

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from ml.registry.client import ModelRegistry


class MlflowResource(dg.ConfigurableResource):
    """Address of the MLflow server, `http://host:port`."""

    tracking_uri: str

    def registry(self) -> "ModelRegistry":
        """The registry behind this address; importing MLflow costs seconds, so only when asked."""
        from ml.registry.client import ModelRegistry

        return ModelRegistry(self.tracking_uri)
