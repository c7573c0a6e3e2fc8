"""The lake's position in a snapshot's summary."""

import uuid

from orchestration.ingest.lake import LakePosition, warehouse_url

FIRST, SECOND = uuid.UUID(int=1), uuid.UUID(int=2)


def test_position_survives_a_snapshot_summary() -> None:
    """Forbids offsets of a recreated topic that overwrite its predecessor's, or keys that become text."""
    position = LakePosition({(FIRST, 0): 10, (FIRST, 1): 12, (SECOND, 0): 3}, replays=77)
    assert LakePosition.from_properties(position.properties()) == position


def test_a_folder_becomes_a_url_and_a_url_stays() -> None:
    """Forbids an S3 prefix that is taken for a folder."""
    assert warehouse_url("/var/lake") == "file:///var/lake"
    assert warehouse_url("s3://bucket/prefix") == "s3://bucket/prefix"
