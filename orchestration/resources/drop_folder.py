"""The drop folder as a Dagster resource, local or on S3."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dagster as dg

if TYPE_CHECKING:
    from orchestration.ingest.intake.drop_folder import Folder


class DropFolderResource(dg.ConfigurableResource):
    """Where plants put files; `path` is a folder, `s3://bucket/prefix`, or unset."""

    path: str | None

    def folder(self) -> "Folder | None":
        """The folder, or None where none is set."""
        from orchestration.ingest.intake.drop_folder import local_folder, s3_folder

        if self.path is None:
            return None
        parts = urlsplit(self.path)
        if parts.scheme == "s3":
            from dagster_aws.s3 import S3Resource  # 1.2 s that the code location need not wait for

            return s3_folder(S3Resource().get_client(), parts.netloc, parts.path)
        return local_folder(Path(self.path))
