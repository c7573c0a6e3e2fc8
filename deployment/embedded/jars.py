"""Jars of Kafka and of Spark: committed lists of coordinates and checksums, fetched in parallel once.

Kafka's list was resolved with jgo (pure Python, no Maven needed); jgo also knows the registry's address.
slf4j-simple, without which the broker logs nothing, was added by hand: resolved together with it, the
client library falls back to an older version.
Run `python -m deployment.embedded.jars` to fetch and check Kafka's, with `spark` behind it Spark's.
"""

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from jgo.constants import MAVEN_CENTRAL_URL

from deployment.embedded.service import ServiceError

LOCK_FILE = Path(__file__).with_name("kafka_jars.lock")
JARS_DIR = Path(__file__).resolve().parents[2] / ".tools" / "kafka-4.1.0"
SPARK_LOCK_FILE = Path(__file__).with_name("spark_jars.lock")
SPARK_JARS_DIR = JARS_DIR.with_name("spark-4.0.0")


def locked_jars(lock_file: Path = LOCK_FILE) -> dict[str, str]:
    """Coordinates (`group:artifact:version`) and sha256 of each jar."""
    lines = [line for line in lock_file.read_text().splitlines() if line and not line.startswith("#")]
    return {line.split()[0]: line.split()[1].removeprefix("sha256:") for line in lines}


def repository_path(coordinate: str) -> str:
    """Path of a jar in a Maven repository.

    >>> repository_path("org.apache.kafka:kafka_2.13:4.1.0")
    'org/apache/kafka/kafka_2.13/4.1.0/kafka_2.13-4.1.0.jar'
    """
    group, artifact, version = coordinate.split(":")
    return f"{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.jar"


def fetch_jars(folder: Path = JARS_DIR, lock_file: Path = LOCK_FILE) -> Path:
    """Make sure that every jar is in the folder with the right checksum; return the folder.

    Raises:
        ServiceError: A jar could not be fetched, or its checksum differs (nothing is kept of it).
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = {
        coordinate: sha256
        for coordinate, sha256 in locked_jars(lock_file).items()
        if not (folder / Path(repository_path(coordinate)).name).exists()
    }
    if missing:
        with (
            httpx.Client(timeout=60, transport=httpx.HTTPTransport(retries=3)) as client,
            ThreadPoolExecutor(8) as pool,
        ):
            list(pool.map(lambda item: _fetch(client, folder, *item), missing.items()))
    return folder


def _fetch(client: httpx.Client, folder: Path, coordinate: str, sha256: str) -> None:
    path = repository_path(coordinate)
    try:
        content = client.get(f"{MAVEN_CENTRAL_URL}/{path}").raise_for_status().content
    except httpx.HTTPError as error:
        raise ServiceError(f"Could not fetch {coordinate}: {error}. Run the command again.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ServiceError(f"{coordinate}: checksum is {found}, the lock says {sha256}. Nothing was kept.")
    target = folder / Path(path).name
    partial = target.with_suffix(".part")
    partial.write_bytes(content)
    partial.rename(target)


if __name__ == "__main__":
    if sys.argv[1:] == ["spark"]:
        fetch_jars(SPARK_JARS_DIR, SPARK_LOCK_FILE)
    else:
        fetch_jars()
