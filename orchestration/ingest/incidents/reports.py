"""What the incident service reports to Dagster: signals, steps and alerts of its rounds.

Add metadata here when it should plot in the web UI. Avoid sending: `asset_reports` does it.
"""

from collections import Counter
from typing import Any

from orchestration.ingest.asset_reports import AssetReports
from orchestration.ingest.incidents.lifecycle import Advance

INCIDENTS, ALERTS = "logs/incidents", "logs/alerts"


class _Tally(Counter[str]):
    def followed_by(self, later: "_Tally") -> "_Tally":
        both = _Tally(self)
        both.update(later)  # unlike `+`, keeps a count of 0
        return both

    def metadata(self) -> dict[str, Any]:
        return dict(self)


class IncidentReports:
    """Reports the rounds of the incident service."""

    def __init__(self, dagster_url: str | None) -> None:
        """Report to a web server, `http://host:port`; None reports nowhere."""
        self._reports: AssetReports[_Tally] = AssetReports(dagster_url, "reported by the service")

    def add(self, advance: Advance, alerts: int) -> None:
        """Take note of a round."""
        if advance.steps or advance.signals:
            steps = Counter(step.value for step, _ in advance.steps)
            self._reports.add(INCIDENTS, _Tally({"signals": advance.signals, **steps}))
        if alerts:
            self._reports.add(ALERTS, _Tally({"alerts": alerts}))

    def close(self) -> None:
        """Report what is left."""
        self._reports.close()
