"""The contracts of all topics and everything derived from them.

Add a derivation as a module of its own and have `sync` write it. What other packages need is
re-exported here. Avoid Dagster, Kafka clients and file writing outside `sync`.
"""

# pyright: reportUnknownVariableType=false
# (pyarrow ships no types)

from orchestration.ingest.contracts.arrow import SYSTEM_COLUMNS, SystemColumn, arrow_schema
from orchestration.ingest.contracts.ddl import ensure_day_partition
from orchestration.ingest.contracts.load import CONTRACTS_DIR, load_contract, load_contracts
from orchestration.ingest.contracts.model import (
    ContractError,
    ContractField,
    Direction,
    FieldRole,
    MessageFormat,
    TopicContract,
    ViolationMode,
)
from orchestration.ingest.contracts.schema_ids import PinnedSchema, latest_schema, pinned_schemas

__all__ = [
    "CONTRACTS_DIR",
    "SYSTEM_COLUMNS",
    "ContractError",
    "ContractField",
    "Direction",
    "FieldRole",
    "MessageFormat",
    "PinnedSchema",
    "SystemColumn",
    "TopicContract",
    "ViolationMode",
    "arrow_schema",
    "ensure_day_partition",
    "latest_schema",
    "load_contract",
    "load_contracts",
    "pinned_schemas",
]
