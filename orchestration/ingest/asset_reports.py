"""Tells Dagster's web server what services did, as materializations of their assets.

What one service counts stands with the service, as a `Pending`. Add here what concerns the reporting itself.
Avoid importing dagster: this speaks its REST endpoint, and a web server that is down must never hold a
service up.
"""

import logging
import threading
import time
from typing import Any, Generic, Protocol, Self, TypeVar

import httpx

log = logging.getLogger(__name__)
REPORT_EVERY_S = 10.0
TIMEOUT_S = 3.0


class Pending(Protocol):
    """What has been done on an asset since its last report."""

    def followed_by(self, later: Self) -> Self:
        """Both as one report."""
        ...

    def metadata(self) -> dict[str, Any]:
        """What the report says."""
        ...


Done = TypeVar("Done", bound=Pending)


class AssetReports(Generic[Done]):
    """Collects what was done per asset and reports it at most every ten seconds."""

    def __init__(self, dagster_url: str | None, description: str) -> None:
        """Report to a web server.

        Args:
            dagster_url: `http://host:port`; None reports nowhere.
            description: Of each materialization: who did it.
        """
        self._url, self._description = dagster_url, description
        self._pending: dict[str, Done] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asset reports", daemon=True)
        if dagster_url:
            self._thread.start()

    def add(self, asset: str, done: Done) -> None:
        """Add to what the next report of an asset says; the asset by its key, joined by `/`."""
        with self._lock:
            known = self._pending.get(asset)
            self._pending[asset] = done if known is None else known.followed_by(done)

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
        for asset, done in pending.items():
            metadata = {**done.metadata(), "reported_at": time.time()}
            try:
                response = httpx.post(
                    f"{self._url}/report_asset_materialization/{asset}",
                    json={"metadata": metadata, "description": self._description},
                    timeout=TIMEOUT_S,
                )
                response.raise_for_status()
            except httpx.HTTPError as error:
                log.info("Dagster at %s took no report of %s (%s); work goes on", self._url, asset, error)
                self._put_back(asset, done)

    def _put_back(self, asset: str, done: Done) -> None:
        with self._lock:
            newer = self._pending.get(asset)
            self._pending[asset] = done if newer is None else done.followed_by(newer)
