"""Tells Dagster's web server what the landing service has landed, as materializations.

Add metadata here when it should plot in the web UI. Avoid importing dagster: this speaks its REST
endpoint, and a web server that is down must never hold landing up.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from orchestration.ingest.batch import Batch
from orchestration.ingest.ledger import Counts

log = logging.getLogger(__name__)
REPORT_EVERY_S = 10.0
TIMEOUT_S = 3.0


@dataclass
class _Pending:
    counts: Counts
    first_batch_id: int
    last_batch_id: int


class DagsterReports:
    """Collects what was landed and reports it per table, at most every ten seconds."""

    def __init__(self, dagster_url: str | None) -> None:
        """Report to a web server, `http://host:port`; None reports nowhere."""
        self._url = dagster_url
        self._pending: dict[str, _Pending] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dagster reports", daemon=True)
        if dagster_url:
            self._thread.start()

    def add(self, batches: Sequence[Batch]) -> None:
        """Take note of committed batches."""
        with self._lock:
            for batch in batches:
                known = self._pending.setdefault(
                    batch.contract.table, _Pending(Counts(), batch.batch_id, batch.batch_id)
                )
                known.counts = known.counts + batch.counts
                known.last_batch_id = batch.batch_id

    def close(self) -> None:
        """Report what is left."""
        self._stop.set()
        if self._url:
            self._thread.join()
            self._report()

    def _run(self) -> None:
        while not self._stop.wait(REPORT_EVERY_S):
            self._report()

    def _report(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        for table, item in pending.items():
            try:
                response = httpx.post(
                    f"{self._url}/report_asset_materialization/raw/{table}",
                    json={"metadata": _metadata(item), "description": "landed by the service"},
                    timeout=TIMEOUT_S,
                )
                response.raise_for_status()
            except httpx.HTTPError as error:
                log.info(
                    "Dagster at %s took no report of raw/%s (%s); landing goes on", self._url, table, error
                )
                self._put_back(table, item)

    def _put_back(self, table: str, item: _Pending) -> None:
        with self._lock:
            newer = self._pending.get(table)
            if newer is None:
                self._pending[table] = item
            else:
                newer.counts = newer.counts + item.counts
                newer.first_batch_id = item.first_batch_id


def _metadata(item: _Pending) -> dict[str, Any]:
    return {
        "rows_landed": item.counts.landed,
        "dead_lettered": item.counts.dead_lettered,
        "discarded": item.counts.discarded,
        "tombstones": item.counts.tombstones,
        "absent": item.counts.absent,
        "first_batch_id": item.first_batch_id,
        "last_batch_id": item.last_batch_id,
        "reported_at": time.time(),
    }
