"""A real S3 server (versitygw over a folder) for the tests that need one."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from orchestration.environment import PROJECT_ROOT
from tests.conftest import free_port

BUCKET = "plant"
KEY, SECRET = "opsgraph", "opsgraph-secret"
READY_S = 20.0


def server_binary() -> str:
    """The server's program; `.ci/run` builds it where there is Go."""
    found = shutil.which("versitygw") or shutil.which(str(PROJECT_ROOT / ".tools" / "bin" / "versitygw"))
    if found is None:
        message = "versitygw is absent: build it with `deployment/bootstrap s3` (needs Go)"
        if os.environ.get("REQUIRE_S3") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """A server with one empty bucket; gives the environment that its clients need."""
    (folder / "data").mkdir(parents=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [server_binary(), "--port", f"127.0.0.1:{port}", "--quiet", "posix", str(folder / "data")],
        env={**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET},
        stdout=(folder / "log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        _make_bucket(client(url))
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        process.terminate()
        process.wait(10)


def client(url: str) -> Any:
    """boto3's client of a server."""
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )


def _make_bucket(s3: Any) -> None:
    end = time.monotonic() + READY_S
    while True:
        try:
            s3.create_bucket(Bucket=BUCKET)
        except (BotoCoreError, ClientError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return
