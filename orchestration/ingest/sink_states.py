"""Circuit breakers of a lander: which sink can't be written to, since when, why, and when it is tried again.

A sink that fails is left alone for a pause that doubles up to a limit; positions do not move meanwhile, so
nothing is lost, and the first success closes the breaker. The lander says its states every few seconds: in
Postgres, and in a file for the time when Postgres is the one that is away. Add here what concerns states.
Avoid retrying: `landing_service` and the pipeline's lake stage do that.
"""

import errno
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from confluent_kafka import KafkaException
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from orchestration.ingest.refused_topics import RefusedTopic

log = logging.getLogger(__name__)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
SAID_EVERY_S = 3.0
STALE_S = 30.0  # a lander that has said nothing for so long is not there
CONNECT_S = 2
REFUSED_TOPICS = "refused topics"  # beside the sinks' names
STATE_FILE = Path("run", "lander.json")  # below the state folder


class Sink(StrEnum):
    """What a lander depends on."""

    POSTGRES = "postgres"
    KAFKA = "kafka"
    LAKE = "lake"
    DISK = "disk"


@dataclass(frozen=True)
class SinkState:
    """One breaker.

    Attributes:
        is_open: Whether the sink is left alone for now.
        since: When it opened or closed last; None if it never opened.
        reason: Why it is open; the last reason where it is closed.
        failures: Failures in a row.
    """

    is_open: bool = False
    since: datetime | None = None
    reason: str = ""
    failures: int = 0


@dataclass(frozen=True)
class Outage:
    """A time in which a sink could not be written to."""

    sink: Sink
    reason: str
    opened_at: datetime
    closed_at: datetime | None = None


def sink_of(error: BaseException) -> Sink | None:
    """Which sink an error speaks of; None where it is a fault of another kind.

    >>> sink_of(OSError(errno.ENOSPC, "No space left on device"))
    <Sink.DISK: 'disk'>
    """
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    for item in chain:
        if isinstance(item, psycopg.errors.DiskFull) or getattr(item, "errno", None) == errno.ENOSPC:
            return Sink.DISK
        if isinstance(item, psycopg.Error):
            return Sink.POSTGRES
        if isinstance(item, KafkaException):
            return Sink.KAFKA
    return None


class Breakers:
    """The breakers of one lander; safe to use from its threads."""

    def __init__(self) -> None:
        """All closed."""
        self._lock = threading.Lock()
        self._states: dict[Sink, SinkState] = {sink: SinkState() for sink in Sink}
        self._outages: list[Outage] = []

    def failed(self, sink: Sink, error: BaseException) -> float:
        """Note a failure; gives the seconds for which the sink should be left alone."""
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        with self._lock:
            before = self._states[sink]
            now = datetime.now(UTC)
            if not before.is_open:
                log.warning(
                    "%s can't be written to (%s): %s", sink.value, reason,
                    "rows land in Postgres, from which it catches up" if sink is Sink.LAKE
                    else "landing waits, positions stay",
                )  # fmt: skip
                self._outages.append(Outage(sink, reason, now))
            opened = before.since if before.is_open else now
            self._states[sink] = SinkState(True, opened, reason, before.failures + 1)
            return min(FIRST_PAUSE_S * 2**before.failures, LONGEST_PAUSE_S)

    def succeeded(self, *sinks: Sink) -> None:
        """Note that sinks took something."""
        if not any(self._states[sink].is_open for sink in sinks):  # without the lock: asked at each commit
            return
        with self._lock:
            now = datetime.now(UTC)
            for sink in sinks:
                state = self._states[sink]
                if state.is_open:
                    log.info("%s takes data again after %s", sink.value, now - (state.since or now))
                    self._states[sink] = SinkState(False, now, state.reason, 0)
                    self._outages = [
                        replace(item, closed_at=now) if item.sink is sink and item.closed_at is None else item
                        for item in self._outages
                    ]

    def states(self) -> Mapping[Sink, SinkState]:
        """How things stand."""
        with self._lock:
            return dict(self._states)

    def take_outages(self) -> list[Outage]:
        """Outages that are over and were not taken before."""
        with self._lock:
            over = [item for item in self._outages if item.closed_at is not None]
            self._outages = [item for item in self._outages if item.closed_at is None]
            return over

    def give_back(self, outages: list[Outage]) -> None:
        """Outages that could not be written down."""
        with self._lock:
            self._outages = outages + self._outages


class Heartbeat:
    """Says the states of a lander every few seconds, in a thread of its own."""

    def __init__(
        self,
        database_url: str,
        lander: str,
        breakers: Breakers,
        file: Path | None = None,
        refused: "Callable[[], Mapping[str, RefusedTopic]]" = dict,
    ) -> None:
        """Set up; nothing is said before `start`.

        Args:
            database_url: `postgresql://…` of `ops.lander_states`.
            lander: Who speaks.
            breakers: Its breakers.
            file: Where it is said too, for the time when Postgres is away.
            refused: Gives the topics that are left out.
        """
        self._database_url, self._lander, self._breakers, self._file = database_url, lander, breakers, file
        self._refused = refused
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Say a last time that the lander has ended."""
        self._stop.set()
        self._thread.join()
        with (
            suppress(psycopg.Error),
            psycopg.connect(self._database_url, connect_timeout=CONNECT_S) as connection,
        ):
            self._write_outages(connection)
            connection.execute("delete from ops.lander_states where lander = %s", (self._lander,))
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _run(self) -> None:
        while True:
            self._say()
            if self._stop.wait(SAID_EVERY_S):
                return

    def _say(self) -> None:
        states = {sink.value: asdict(state) for sink, state in self._breakers.states().items()}
        refused = {topic: asdict(item) for topic, item in self._refused().items()}
        said = json.loads(json.dumps({**states, REFUSED_TOPICS: refused}, default=str))
        if self._file is not None:
            with suppress(OSError):  # a full disk must not end the heartbeat
                content = {"lander": self._lander, "seen_at": time.time(), "sinks": said}
                self._file.parent.mkdir(parents=True, exist_ok=True)
                unfinished = self._file.with_suffix(".new")
                unfinished.write_text(json.dumps(content))
                unfinished.replace(self._file)
        with (
            suppress(psycopg.Error),
            psycopg.connect(self._database_url, connect_timeout=CONNECT_S) as connection,
        ):
            connection.execute(
                """
                insert into ops.lander_states (lander, seen_at, state) values (%s, now(), %s)
                on conflict (lander) do update set seen_at = now(), state = excluded.state
                """,
                (self._lander, Jsonb(said)),
            )
            connection.execute("delete from ops.lander_states where seen_at < now() - interval '1 day'")
            self._write_outages(connection)

    def _write_outages(self, connection: psycopg.Connection[Any]) -> None:
        outages = self._breakers.take_outages()
        try:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(
                    "insert into ops.sink_outages (lander, sink, reason, opened_at, closed_at) "
                    "values (%s, %s, %s, %s, %s)",
                    [(self._lander, o.sink.value, o.reason, o.opened_at, o.closed_at) for o in outages],
                )
        except psycopg.Error:
            self._breakers.give_back(outages)
            raise


@dataclass(frozen=True)
class LanderState:
    """What a lander has said last.

    Attributes:
        lander: Who.
        age_s: Seconds since then.
        sinks: State by sink, as said.
        refused: Reason and time by topic that is left out, as said.
    """

    lander: str
    age_s: float
    sinks: Mapping[str, Mapping[str, Any]]
    refused: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, lander: str, age_s: float, said: Mapping[str, Mapping[str, Any]]) -> "LanderState":
        """Undo what a heartbeat has said."""
        sinks = {name: state for name, state in said.items() if name != REFUSED_TOPICS}
        return cls(lander, age_s, sinks, said.get(REFUSED_TOPICS, {}))

    @property
    def open_sinks(self) -> dict[str, str]:
        """Sinks that can't be written to, with the reason."""
        return {name: str(state["reason"]) for name, state in self.sinks.items() if state["is_open"]}


def lander_states(connection: psycopg.Connection[Any]) -> list[LanderState]:
    """Landers that have said something lately."""
    rows = connection.execute(
        """
        select lander, extract(epoch from now() - seen_at)::float8, state from ops.lander_states
        where seen_at > now() - %s * interval '1 second' order by lander
        """,
        (STALE_S,),
    )
    return [LanderState.of(lander, age, state) for lander, age, state in rows]


def known_states(database_url: str, file: Path) -> list[LanderState]:
    """What the landers have said last; of the one of this machine also while Postgres is away."""
    try:
        with psycopg.connect(database_url, connect_timeout=CONNECT_S) as connection:
            return lander_states(connection)
    except psycopg.Error:
        own = state_in_file(file)
        return [own] if own else []


def state_in_file(file: Path) -> LanderState | None:
    """What the lander of this machine has said last; None where it has said nothing lately."""
    try:
        said = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    age = time.time() - float(said["seen_at"])
    return LanderState.of(said["lander"], age, said["sinks"]) if age <= STALE_S else None
