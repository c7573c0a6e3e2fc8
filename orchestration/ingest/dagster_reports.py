"""What the landing service reports to Dagster: counts and batches per raw table.

Add metadata here when it should plot in the web UI. Avoid sending: `asset_reports` does it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestration.ingest.asset_reports import AssetReports
from orchestration.ingest.batch import Batch
from orchestration.ingest.ledger import Counts


@dataclass(frozen=True)
class _Landed:
    counts: Counts
    first_batch_id: int
    last_batch_id: int

    def followed_by(self, later: "_Landed") -> "_Landed":
        return replace(later, counts=self.counts + later.counts, first_batch_id=self.first_batch_id)

    def metadata(self) -> dict[str, Any]:
        return {
            "rows_landed": self.counts.landed,
            "dead_lettered": self.counts.dead_lettered,
            "discarded": self.counts.discarded,
            "tombstones": self.counts.tombstones,
            "absent": self.counts.absent,
            "first_batch_id": self.first_batch_id,
            "last_batch_id": self.last_batch_id,
        }


class DagsterReports:
    """Reports what was landed, per table."""

    def __init__(self, dagster_url: str | None) -> None:
        """Report to a web server, `http://host:port`; None reports nowhere."""
        self._reports: AssetReports[_Landed] = AssetReports(dagster_url, "landed by the service")

    def add(self, batches: Sequence[Batch]) -> None:
        """Take note of committed batches."""
        for batch in batches:
            landed = _Landed(batch.counts, batch.batch_id, batch.batch_id)
            self._reports.add(f"raw/{batch.contract.table}", landed)

    def close(self) -> None:
        """Report what is left."""
        self._reports.close()
