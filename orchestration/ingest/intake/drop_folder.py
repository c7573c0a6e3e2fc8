"""Drop folders: each file below `<folder>/<topic>/` is sent once, by content, local or on S3.

A file counts as complete when its size and time did not change between two looks, or when it lies on S3
(an object appears whole). Add another store by giving `Folder` its two functions. Avoid reading files here.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import psycopg

from orchestration.ingest.contracts import ContractError, TopicContract
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog, SchemaRegistryUnavailableError
from orchestration.ingest.intake.files import form_of, rows_of
from orchestration.ingest.intake.positions import mark_file, taken_files
from orchestration.ingest.intake.sending import Intake, IntakeSender, SchemaFaultError, landed_contract
from orchestration.ingest.producer import UnsendableError

SETTLE_S = 0.2  # a file that grew within this time is still being written; the next look takes it


class FolderError(RuntimeError):
    """The folder as a whole can't be read now; says why. Nothing was sent or marked."""


@dataclass(frozen=True)
class Folder:
    """A place that holds files.

    Attributes:
        name: Name of the source: path or URL.
        list_files: Names of its files, relative with `/`, each with what changes when its content does.
        read: Bytes of one of them; None while it is still being written.
    """

    name: str
    list_files: Callable[[], dict[str, str]]
    read: Callable[[str], bytes | None]

    def fingerprint(self) -> list[str]:
        """A line per file; the same lines mean that nothing is new."""
        return [f"{name} {state}" for name, state in sorted(self.list_files().items())]


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        path: Its name in the folder.
        intake: What was sent; None where nothing was.
        problem: Why not; empty where all went well.
        is_waiting: Whether the file is not at fault and won't change, so that only another run can take it.
    """

    path: str
    intake: Intake | None
    problem: str = ""
    is_waiting: bool = False


def local_folder(root: Path) -> Folder:
    """A folder of this machine.

    Raises:
        ContractError: There is no such folder.
    """
    if not root.is_dir():
        raise ContractError(f"{root} is not a folder; make it, with one folder per topic inside")

    def files() -> dict[str, str]:
        found = [(path, path.stat()) for path in root.rglob("*") if path.is_file()]
        return {
            path.relative_to(root).as_posix(): f"{stat.st_size}/{stat.st_mtime_ns}" for path, stat in found
        }

    def read(name: str) -> bytes | None:
        path = root / name
        before = path.stat()
        if time.time() - before.st_mtime < SETTLE_S:
            time.sleep(SETTLE_S)
        content, after = path.read_bytes(), path.stat()
        return content if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) else None

    return Folder(str(root.resolve()), files, read)


def s3_folder(client: Any, bucket: str, prefix: str) -> Folder:
    """A prefix of a bucket.

    Args:
        client: boto3's S3 client, for example from dagster-aws's `S3Resource`.
        bucket: Bucket.
        prefix: Prefix that stands for the folder.

    Raises:
        FolderError: When its files are listed: no such bucket, no access, no answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

    start = prefix.strip("/") + "/" if prefix.strip("/") else ""

    def files() -> dict[str, str]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start)
        try:
            found = [item for page in pages for item in page.get("Contents", [])]
        except (BotoCoreError, ClientError) as error:
            raise FolderError(f"s3://{bucket}/{start} can't be listed: {error}") from None
        return {str(item["Key"]).removeprefix(start): str(item["ETag"]) for item in found if item["Size"]}

    def read(name: str) -> bytes | None:
        try:
            return bytes(client.get_object(Bucket=bucket, Key=start + name)["Body"].read())
        except (BotoCoreError, ClientError) as error:
            raise OSError(f"s3://{bucket}/{start}{name}: {error}") from None

    return Folder(f"s3://{bucket}/{start}", files, read)


def take_files(
    folder: Folder,
    connection: psycopg.Connection[Any],
    bootstrap_servers: str,
    contracts: Mapping[str, TopicContract],
    schemas: SchemaCatalog | None = None,
) -> list[FileOutcome]:
    """Send every file that was not sent yet; a bad file does not hold up the others.

    Args:
        folder: Where the files are, each below a folder with its topic's name.
        connection: Connection in autocommit mode, for the list of files that were taken.
        bootstrap_servers: `host:port,…` of the cluster.
        contracts: Contracts by topic.
        schemas: Where schema ids come from; the ids pinned in the repository by default.

    Raises:
        DeliveryError: The broker did not take a file's rows; that file is taken again by the next run.
        SchemaRegistryUnavailableError: The registry did not answer; the same.
    """
    done = taken_files(connection, folder.name)
    outcomes: list[FileOutcome] = []
    for path in sorted(folder.list_files()):
        topic = PurePosixPath(path).parts[0]
        if form_of(path) is None or len(PurePosixPath(path).parts) < 2:
            continue
        try:
            landed_contract(contracts, topic)
            content = folder.read(path)
            if content is None:
                outcomes.append(FileOutcome(path, None, "is still being written; the next run takes it"))
                continue
            digest = _digest(topic, content)
            # The second form is that of files taken before the topic was part of the digest.
            if (topic, digest) in done or (topic, sha256(content).hexdigest()) in done:
                continue
            intake = IntakeSender(bootstrap_servers, contracts, topic, schemas).send(rows_of(path, content))
        except SchemaFaultError as error:
            problem = f"{error}. The file is kept for the next run"
            outcomes.append(FileOutcome(path, None, problem, is_waiting=True))
        except SchemaRegistryUnavailableError:
            raise  # of no use to ask it again for each file
        except OSError as error:
            problem = f"{error}. The file is kept for the next run; can it be read?"
            outcomes.append(FileOutcome(path, None, problem, is_waiting=True))
        except (ContractError, UnsendableError) as error:
            problem = f"{error}. Nothing of it was marked as taken: mend or move the file"
            outcomes.append(FileOutcome(path, None, problem))
        else:
            mark_file(connection, folder.name, path, digest, intake)
            done.add((topic, digest))
            outcomes.append(FileOutcome(path, intake))
    return outcomes


def _digest(topic: str, content: bytes) -> str:
    """The same bytes in another topic's folder are another file: the first one may have been misplaced."""
    return sha256(topic.encode() + b"\0" + content).hexdigest()
