"""Topics that a person misspells are told, and not traced back."""

import pytest
from typer.testing import CliRunner

from orchestration.cli import app


@pytest.mark.parametrize(
    "arguments",
    [
        ["ledger", "check", "typo"],
        ["restore", "--from-lake", "typo"],
        ["reland", "typo", "--since", "2026-01-01"],
        ["land", "typo"],
        ["land", "processed_alerts"],
    ],
)
def test_an_unknown_topic_is_told_with_those_that_are_known(arguments: list[str]) -> None:
    """Forbids a `KeyError` for a misspelt topic, and a topic that this system writes itself."""
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    assert "not landed" in result.output
    assert "equipment-sensors" in result.output


def test_a_bucket_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids botocore's traceback where a bucket's name or address is wrong."""
    from orchestration.ingest.intake.drop_folder import FolderError, s3_folder

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:1",
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 0}, connect_timeout=1),
    )
    with pytest.raises(FolderError, match="s3://typo/ can't be listed"):
        s3_folder(client, "typo", "").list_files()
