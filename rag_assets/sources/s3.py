"""Documents below a prefix of a bucket. Avoid formats here (`rag_assets.formats`)."""

# boto3 makes its clients at run time.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from rag_assets.documents import SourceFile
from rag_assets.formats.content import READERS, SIDECAR_SUFFIX


def s3_files(client: Any, bucket: str, prefix: str = "") -> Iterator[SourceFile]:
    """Readable files below a prefix, by key.

    Args:
        client: A boto3 S3 client (`S3Resource.get_client()` in Dagster).
        bucket: Name of the bucket.
        prefix: Key prefix; paths of documents are relative to it.
    """
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = sorted(item["Key"] for page in pages for item in page.get("Contents", ()))
    sidecars = {key for key in keys if key.endswith(SIDECAR_SUFFIX)}
    for key in keys:
        relative = key.removeprefix(prefix).lstrip("/")
        path = PurePosixPath(relative)
        if path.suffix.lower() not in READERS or any(part.startswith(".") for part in path.parts):
            continue
        sidecar = key + SIDECAR_SUFFIX
        beside = _bytes(client, bucket, sidecar) if sidecar in sidecars else None
        yield SourceFile(relative, _bytes(client, bucket, key), beside)


def split_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of an address.

    >>> split_url("s3://plant-docs/runbooks/")
    ('plant-docs', 'runbooks/')
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, prefix


def _bytes(client: Any, bucket: str, key: str) -> bytes:
    return client.get_object(Bucket=bucket, Key=key)["Body"].read()
