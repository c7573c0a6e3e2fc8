"""Reads `bronze`, runs the Polars engine, and replaces the tables of `silver`.

Spark reads and writes by itself. Avoid transformations here.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import TYPE_CHECKING

import polars as pl

from orchestration.ingest.bulk import polars_engine
from orchestration.ingest.bulk.plan import BulkError, BulkPlan
from orchestration.ingest.contracts import TopicContract
from orchestration.ingest.lake import Lake

if TYPE_CHECKING:
    from pyiceberg.table import Table

NAMESPACE = "silver"


def run_with_polars(lake: Lake, contract: TopicContract, plan: BulkPlan) -> dict[str, int]:
    """Run the bulk jobs in this process; rows by table.

    Raises:
        BulkError: Nothing of the topic has reached the lake.
    """
    table = lake.existing_table(contract)
    if table is None:
        raise BulkError(f"bronze.{plan.table} is not in the lake yet: land {contract.topic} first")
    columns = (*plan.keys, plan.event_time, *plan.metrics, "known_at", "kafka_partition", "kafka_offset")
    rows = pl.DataFrame(table.scan(selected_fields=columns).to_arrow())
    counts: dict[str, int] = {}
    for output, frame in polars_engine.run(rows, plan).items():
        name = f"{plan.table}_{output}"
        lake.replace(NAMESPACE, name, frame.to_arrow())
        counts[name] = frame.height
    return counts


def read_silver(lake: Lake, name: str) -> pl.DataFrame:
    """Rows of a table of `silver`, whichever engine wrote it."""
    table: Table = lake.named(NAMESPACE, name)
    return pl.DataFrame(table.scan().to_arrow())
