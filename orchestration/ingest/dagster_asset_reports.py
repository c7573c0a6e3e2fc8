"""Tells Dagster's web server what services did, as materializations of their assets.

The landing service has its own (`dagster_reports`), which counts by table. Add metadata here when it should
plot. Avoid importing dagster: this speaks the REST endpoint, and a web server that is down holds nothing up.
"""

import logging
import threading
import time
from collections import Counter
from typing import Any

import httpx

from orchestration.ingest.incidents.lifecycle import Advance

log = logging.getLogger(__name__)
REPORT_EVERY_S = 10.0
TIMEOUT_S = 3.0
INCIDENTS, ALERTS = "logs/incidents", "logs/alerts"


class AssetReports:
    """Collects counts per asset and reports them at most every ten seconds."""

    def __init__(self, dagster_url: str | None) -> None:
        """Report to a web server, `http://host:port`; None reports nowhere."""
        self._url = dagster_url
        self._counts: dict[str, Counter[str]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asset reports", daemon=True)
        if dagster_url:
            self._thread.start()

    def add(self, asset: str, counts: Counter[str]) -> None:
        """Add counts to what the next report of an asset says."""
        with self._lock:
            self._counts.setdefault(asset, Counter()).update(counts)

    def incidents(self, advance: Advance, alerts: int) -> None:
        """Take note of a round of the incident service."""
        if advance.steps or advance.signals:
            steps = Counter(step.value for step, _ in advance.steps)
            self.add(INCIDENTS, Counter({"signals": advance.signals, **steps}))
        if alerts:
            self.add(ALERTS, Counter({"alerts": alerts}))

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
            pending, self._counts = self._counts, {}
        for asset, counts in pending.items():
            metadata: dict[str, Any] = {**counts, "reported_at": time.time()}
            try:
                response = httpx.post(
                    f"{self._url}/report_asset_materialization/{asset}",
                    json={"metadata": metadata, "description": "reported by the service"},
                    timeout=TIMEOUT_S,
                )
                response.raise_for_status()
            except httpx.HTTPError as error:
                log.info("Dagster at %s took no report of %s (%s); work goes on", self._url, asset, error)
                self.add(asset, counts)
