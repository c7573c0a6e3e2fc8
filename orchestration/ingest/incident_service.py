"""The incident service: signals become incidents, incidents become alerts, alerts reach their receivers.

Add here how the service survives its surroundings. Avoid the stages: they stand in `incidents` and
`delivery`, and Dagster's assets call the same ones for a replayed day.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
import psycopg
from confluent_kafka import KafkaException

from orchestration.ingest.delivery.alerting import AlertMaker
from orchestration.ingest.delivery.channels import Channel
from orchestration.ingest.delivery.queue import deliver
from orchestration.ingest.heartbeats import beat, retire
from orchestration.ingest.incidents import calls, liveness
from orchestration.ingest.incidents.intake import take_in
from orchestration.ingest.incidents.lifecycle import Advance, end_quiet_incidents, group_signals
from orchestration.ingest.outbox import relay_outbox
from orchestration.ingest.producer import DeliveryError, MessageProducer
from orchestration.ingest.signals import write_signals

log = logging.getLogger(__name__)
NAME = "service:incidents"
TICK_S = 1.0  # quiet incidents and new findings of other tables are looked for this often at least
BEAT_EVERY_S = 10.0
INTAKE_EVERY_S = 5.0
LIVENESS_EVERY_S = 20.0
CALLS_EVERY_S = 300.0
PLANS_EVERY_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
PASSING = (psycopg.Error, KafkaException, DeliveryError, httpx.HTTPError, OSError)

_Receiver = TypeVar("_Receiver", Channel, MessageProducer)


@dataclass(frozen=True)
class IncidentServiceSettings:
    """Where things are.

    Attributes:
        database_url: `postgresql://…`.
        bootstrap_servers: Kafka, for `processed_alerts`; None leaves messages in the outbox.
        dagster_url: Web server that tells of sensors and schedules; None looks at none.
        platform_tenant: Who is told of troubles of the platform itself.
    """

    database_url: str
    bootstrap_servers: str | None
    dagster_url: str | None
    platform_tenant: str


@dataclass
class _Clockwork:
    """Runs chores, each at its own pace."""

    due: dict[str, float] = field(default_factory=dict[str, float])

    def is_due(self, chore: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self.due.get(chore, 0.0):
            return False
        self.due[chore] = now + every_s
        return True


class IncidentService:
    """Works until `stop`; killed at any point it goes on where the database stands."""

    def __init__(
        self,
        settings: IncidentServiceSettings,
        alerts: AlertMaker,
        channels: Sequence[Channel],
        on_advance: Callable[[Advance, int], None] | None = None,
    ) -> None:
        """Set up; nothing is read before `run`.

        Args:
            settings: Addresses.
            alerts: Makes alerts.
            channels: Receivers.
            on_advance: Told of each round that did something, with the alerts that it made.
        """
        self._settings, self._alerts, self._channels = settings, alerts, channels
        self._on_advance = on_advance
        self._stop = threading.Event()
        self._wakes: list[threading.Event] = []
        self._clockwork = _Clockwork()
        self._client = httpx.Client()

    def stop(self) -> None:
        """End after the present round."""
        self._stop.set()
        self._wake()

    def run(self) -> None:
        """Work until `stop`. Failures are logged and waited out, ever longer up to 15 s."""
        senders = [self._sender(self._deliver, channel) for channel in self._channels]
        if self._settings.bootstrap_servers:
            senders.append(self._sender(self._relay, MessageProducer(self._settings.bootstrap_servers)))
        for sender in senders:
            sender.start()
        pause_s = FIRST_PAUSE_S
        try:
            while not self._stop.is_set():
                try:
                    self._listen_and_work()
                    pause_s = FIRST_PAUSE_S
                except PASSING as error:
                    log.warning("incidents pause for %.1f s: %s", pause_s, error)
                    self._stop.wait(pause_s)
                    pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                except Exception:  # a fault of ours about one incident must not end the alerts of all
                    log.exception("a round of incidents failed and is tried again in %.1f s", pause_s)
                    self._stop.wait(pause_s)
                    pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        finally:
            self.stop()
            for sender in senders:
                sender.join()
            self._say_goodbye()

    def _listen_and_work(self) -> None:
        with psycopg.connect(self._settings.database_url, autocommit=True) as listener:
            listener.execute("listen opsgraph_signals")
            while not self._stop.is_set():
                self.work()
                for _ in listener.notifies(timeout=TICK_S, stop_after=1):
                    pass

    def work(self) -> Advance:
        """One round: take in, group, end what is quiet, alert."""
        begun = time.perf_counter()
        with psycopg.connect(self._settings.database_url) as connection:
            self._chores(connection)
            grouped = group_signals(connection)
            ended = end_quiet_incidents(connection, datetime.now(UTC))
        grouping_ms = (time.perf_counter() - begun) * 1000
        advance = Advance(grouped.signals, (*grouped.steps, *ended.steps))
        made = self._alerts.alert_due(self._settings.database_url, grouping_ms)
        if self._clockwork.is_due("plans", PLANS_EVERY_S):
            made += self._alerts.plan_waiting(self._settings.database_url)
        if made:
            self._wake()
        if self._on_advance and (advance.steps or made):
            self._on_advance(advance, made)
        return advance

    def work_once(self) -> Advance:
        """One round without a sign of life of its own, then one try per channel."""
        self._clockwork.is_due("beat", BEAT_EVERY_S)
        advance = self.work()
        for channel in self._channels:
            deliver(self._settings.database_url, channel, self._client)
        return advance

    def _chores(self, connection: psycopg.Connection[Any]) -> None:
        settings = self._settings
        if self._clockwork.is_due("beat", BEAT_EVERY_S):
            beat(connection, NAME, BEAT_EVERY_S)
        if self._clockwork.is_due("intake", INTAKE_EVERY_S):
            take_in(connection, settings.platform_tenant)
        if self._clockwork.is_due("calls", CALLS_EVERY_S):
            calls.learn_calls(connection)
        if self._clockwork.is_due("liveness", LIVENESS_EVERY_S):
            components = liveness.known_components(connection)
            if settings.dagster_url:
                components += liveness.dagster_components(settings.dagster_url, self._client)
            now = datetime.now(UTC)
            write_signals(connection, liveness.liveness_signals(components, settings.platform_tenant, now))
        connection.commit()

    def _sender(
        self, send: Callable[[_Receiver, threading.Event], None], receiver: _Receiver
    ) -> threading.Thread:
        wake = threading.Event()
        self._wakes.append(wake)
        return threading.Thread(target=send, args=(receiver, wake), name=f"sender {len(self._wakes)}")

    def _wake(self) -> None:
        for wake in self._wakes:
            wake.set()

    def _deliver(self, channel: Channel, wake: threading.Event) -> None:
        while not self._stop.is_set():
            wake.clear()
            try:
                done = deliver(self._settings.database_url, channel, self._client)
                if done.refused:
                    log.error(
                        "channel %s refused %d alerts for good; `opsgraph incidents channels` says why",
                        channel.name,
                        done.refused,
                    )
            except PASSING as error:
                log.warning("channel %s waits: %s", channel.name, error)
            wake.wait(TICK_S)

    def _relay(self, producer: MessageProducer, wake: threading.Event) -> None:
        while not self._stop.is_set():
            wake.clear()
            try:
                relay_outbox(self._settings.database_url, producer)
            except PASSING as error:
                log.warning("alerts wait in the outbox: %s", error)
            wake.wait(LONGEST_PAUSE_S)

    def _say_goodbye(self) -> None:
        try:
            with psycopg.connect(self._settings.database_url) as connection:
                retire(connection, NAME)
        except psycopg.Error as error:
            log.warning("the database did not take the goodbye: %s", error)
