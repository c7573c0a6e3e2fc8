"""The MLflow server as a Dagster resource."""

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from ml.registry.client import ModelRegistry
    from ml.registry.rules import PromotionRule


class MlflowResource(dg.ConfigurableResource):
    """Address of the MLflow server, `http://host:port`, and who decides on its challengers."""

    tracking_uri: str
    promotion_mode: str = "MANAGED"

    def registry(self) -> "ModelRegistry":
        """The registry behind this address; importing MLflow costs seconds, so only when asked."""
        from ml.registry.client import ModelRegistry

        return ModelRegistry(self.tracking_uri)

    def promotion_rule(self) -> "PromotionRule":
        """How challengers are decided on."""
        from ml.registry.rules import PromotionRule

        return PromotionRule(mode="MANUAL" if self.promotion_mode == "MANUAL" else "MANAGED")
