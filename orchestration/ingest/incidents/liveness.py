"""Who has stopped: services, sensors and schedules that should show signs of life and do not.

Add a source of signs of life here. Avoid starting anything again: that is an action somebody approves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx

from orchestration.ingest.incidents.intake import CERTAIN
from orchestration.ingest.incidents.store import Connection
from orchestration.ingest.signals import Signal, SignalKind

MISSED_BEATS = 3
GRACE = timedelta(seconds=20)
"""Above the beats that may be missed: a daemon tick of 5 s and a slow start fit in."""
FORGOTTEN = timedelta(days=1)
"""A service that was silent for longer was taken away on purpose."""
DAGSTER_TIMEOUT_S = 3.0

_DAGSTER_QUERY = """
query Liveness {
  instance { daemonHealth { allDaemonStatuses { daemonType required lastHeartbeatTime } } }
  repositoriesOrError { ... on RepositoryConnection { nodes {
    sensors { name minIntervalSeconds sensorState { status ticks(limit: 1) { timestamp status } } }
    schedules { name scheduleState { status ticks(limit: 1) { timestamp status } } }
  } } }
}
"""


@dataclass(frozen=True)
class Component:
    """Something that should show signs of life.

    Attributes:
        name: Subject of a signal: `service:…`, `sensor:…`, `schedule:…`.
        last_seen_at: Its last sign of life; None where it never gave one.
        interval: How often it should give one.
        failure: What it says of itself when it is alive but fails; empty when it is well.
    """

    name: str
    last_seen_at: datetime | None
    interval: timedelta
    failure: str = ""

    def is_dead(self, now: datetime) -> bool:
        """Whether too many signs of life are missing."""
        if self.last_seen_at is None:
            return False
        silent = now - self.last_seen_at
        return MISSED_BEATS * self.interval + GRACE < silent <= FORGOTTEN


def known_components(connection: Connection) -> list[Component]:
    """Components with heartbeats, and holders of leases: a lease that ran out was never given back."""
    beats = connection.execute("select component, beat_at, interval_s from ops.heartbeats").fetchall()
    leases = connection.execute("select lease, expires_at from ops.leases where lease = 'landing'").fetchall()
    return [
        *(Component(name, at, timedelta(seconds=interval_s)) for name, at, interval_s in beats),
        *(Component(f"service:{lease}", expires_at, timedelta(seconds=5)) for lease, expires_at in leases),
    ]


def dagster_components(url: str, client: httpx.Client) -> list[Component]:
    """Daemons, sensors and schedules as Dagster's web server knows them; none while it does not answer.

    Args:
        url: `http://host:port` of the web server.
        client: HTTP client.
    """
    try:
        response = client.post(f"{url}/graphql", json={"query": _DAGSTER_QUERY}, timeout=DAGSTER_TIMEOUT_S)
        response.raise_for_status()
        data = cast(dict[str, Any], response.json()["data"])
        return components_of(data)
    except (httpx.HTTPError, KeyError, TypeError, ValueError):
        return []


def components_of(data: dict[str, Any]) -> list[Component]:
    """Components out of the answer to the liveness query."""
    found: list[Component] = []
    for daemon in data["instance"]["daemonHealth"]["allDaemonStatuses"]:
        if daemon["required"]:
            name = f"service:dagster-daemon/{daemon['daemonType'].lower()}"
            found.append(Component(name, _instant(daemon["lastHeartbeatTime"]), timedelta(seconds=30)))
    for repository in data["repositoriesOrError"].get("nodes", []):
        for sensor in repository["sensors"]:
            state = sensor["sensorState"]
            if state["status"] == "RUNNING":
                interval = timedelta(seconds=max(int(sensor["minIntervalSeconds"] or 30), 30))
                found.append(_ticking(f"sensor:{sensor['name']}", state, interval))
        for schedule in repository["schedules"]:
            state = schedule["scheduleState"]
            if state["status"] == "RUNNING":
                # A schedule ticks when its hour comes; whether the scheduler runs, its daemon tells.
                found.append(_ticking(f"schedule:{schedule['name']}", state, FORGOTTEN))
    return found


def liveness_signals(components: Iterable[Component], tenant_id: str, now: datetime) -> list[Signal]:
    """A signal per component that is dead or fails, one a minute while it lasts.

    Args:
        components: What should be alive.
        tenant_id: Who is told.
        now: The present.
    """
    minute = now.replace(second=0, microsecond=0)
    signals: list[Signal] = []
    for item in components:
        if item.is_dead(now) and item.last_seen_at is not None:
            silent = (now - item.last_seen_at).total_seconds()
            summary = (
                f"no sign of life for {silent:.0f} s, one is due every {item.interval.total_seconds():.0f} s"
            )
            since = item.last_seen_at
        elif item.failure:
            summary, since = item.failure, item.last_seen_at or minute
        else:
            continue
        signals.append(
            Signal(
                tenant_id=tenant_id,
                kind=SignalKind.LIVENESS,
                subject=item.name,
                observed_at=minute,
                known_at=now,
                score=CERTAIN,
                summary=f"{item.name}: {summary}",
                evidence={"starts_at": min(since, minute).isoformat(), "sample_lines": [summary]},
            )
        )
    return signals


def _ticking(name: str, state: dict[str, Any], interval: timedelta) -> Component:
    tick = state["ticks"][0] if state["ticks"] else None
    if tick is None:
        return Component(name, None, interval)
    failure = "its last tick failed" if tick["status"] == "FAILURE" else ""
    return Component(name, _instant(tick["timestamp"]), interval, failure)


def _instant(epoch_s: float | None) -> datetime | None:
    return datetime.fromtimestamp(float(epoch_s), UTC) if epoch_s else None
