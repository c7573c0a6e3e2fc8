"""The Iceberg lake as a Dagster resource."""

import dagster as dg


class LakeResource(dg.ConfigurableResource):
    """Warehouse root (`file://…` or `s3://…`) and the SQLAlchemy URL of the Iceberg catalog."""

    url: str
    catalog_uri: str
