"""A source by its address: a folder, `s3://bucket/prefix`, or `git+URL@branch`.

Add a kind of address here. Avoid reading files here.
"""

# boto3 carries no types.
# pyright: reportMissingTypeStubs=false

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rag_assets.documents import BrokenDocument, SourceFile, folder_files
from rag_assets.sources.git import check_out
from rag_assets.sources.s3 import s3_files, split_url

DEFAULT_BRANCH = "main"


class SourceNotFoundError(LookupError):
    """There is nothing at the address."""


@dataclass(frozen=True)
class NamedSource:
    """Files and the name under which the corpus keeps them."""

    name: str
    files: Iterable[SourceFile | BrokenDocument]


def open_source(address: str, checkouts: Path) -> NamedSource:
    """The source behind an address.

    Args:
        address: Folder, `s3://bucket/prefix`, or `git+URL@branch` (by default `main`).
        checkouts: Folder where Git checkouts are kept between runs.

    Raises:
        SourceNotFoundError: A folder that is not there, or a bucket that can't be listed.
        GitError: The repository or branch is not there.
    """
    if address.startswith("s3://"):
        return NamedSource(address, _of_bucket(address))
    if address.startswith("git+"):
        url, ref = _split_ref(address.removeprefix("git+"))
        checkout = checkouts / hashlib.sha256(f"{url}@{ref}".encode()).hexdigest()[:16]
        check_out(url, ref, checkout)
        return NamedSource(f"git+{url}@{ref}", folder_files(checkout))
    folder = Path(address)
    if not folder.is_dir():
        raise SourceNotFoundError(f"{address} is not a folder: give one that holds documents")
    return NamedSource(str(folder.resolve()), folder_files(folder))


def _of_bucket(address: str) -> list[SourceFile]:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return list(s3_files(boto3.client("s3"), *split_url(address)))  # pyright: ignore[reportUnknownMemberType]
    except (BotoCoreError, ClientError) as error:
        raise SourceNotFoundError(f"{address} can't be read: {error}; the corpus stays as it was") from error


def _split_ref(address: str) -> tuple[str, str]:
    """URL and branch; an `@` before the last slash belongs to the URL (`git@host:path`).

    >>> _split_ref("git@host:team/runbooks.git@release"), _split_ref("/srv/runbooks")
    (('git@host:team/runbooks.git', 'release'), ('/srv/runbooks', 'main'))
    """
    head, _, tail = address.rpartition("@")
    return (head, tail) if head and "/" not in tail and ":" not in tail else (address, DEFAULT_BRANCH)
