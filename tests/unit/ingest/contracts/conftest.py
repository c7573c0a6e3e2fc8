"""Fixtures of the contract tests: a small contract that a test can break, and a copy of the repository."""

import shutil
from pathlib import Path

import pytest

from orchestration.environment import PROJECT_ROOT

COPIED = (
    "orchestration/ingest/contracts",
    "orchestration/migrations",
    "dbt_project/models",
    "dbt_project/macros",
    "ml/features/generated",
    "ml/validation/generated",
)
LINES = """\
apiVersion: v3.0.2
kind: DataContract
id: oil-samples
name: Oil samples
version: 1.0.0
status: active
description:
  purpose: Laboratory results of one oil sample.
schema:
  - name: oil_samples
    physicalName: oil-samples
    physicalType: kafka-topic
    dataGranularityDescription: one row per tenant and sample
    customProperties:
      - {property: format, value: avro}
      - {property: direction, value: in}
      - {property: partitions, value: 1}
      - {property: messageKey, value: tenant_id/sample_id}
      - {property: onViolation, value: discard_row}
    properties:
      - name: tenant_id
        logicalType: string
        physicalType: string
        required: true
        description: Owner.
        primaryKey: true
        primaryKeyPosition: 2
      - name: sample_id
        logicalType: string
        physicalType: string
        required: true
        description: Sample.
        primaryKey: true
        primaryKeyPosition: 1
      - name: event_at
        logicalType: timestamp
        physicalType: timestamp-micros
        required: true
        description: When it was drawn.
        logicalTypeOptions: {minimum: "2000-01-01T00:00:00Z"}
        customProperties:
          - {property: role, value: eventTime}
      - name: iron_ppm
        logicalType: number
        physicalType: double
        description: Iron.
        logicalTypeOptions: {minimum: 0, maximum: 5000}
        customProperties:
          - {property: role, value: metric}
          - {property: unit, value: ppm}
          - {property: onViolation, value: discard_value}
      - name: verdict
        logicalType: string
        physicalType: string
        description: Verdict of the laboratory.
        customProperties:
          - {property: enum, value: [good, watch, change]}
      - {name: drawn_by, logicalType: string, physicalType: string, description: Person., classification: pii}
"""


@pytest.fixture
def contract_file(tmp_path: Path) -> Path:
    """A folder's only contract, valid as it stands."""
    path = tmp_path / "oil-samples.odcs.yaml"
    path.write_text(LINES)
    return path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of what sync reads and writes."""
    root = tmp_path / "repository"
    for folder in COPIED:
        shutil.copytree(PROJECT_ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return root
