"""Landing's numbers on `/metrics`: lag, age of the last commit, dead letters, and the state of sinks.

They are asked for every ten seconds by a thread of its own, so that a scrape never waits for Kafka or
Postgres. Add a number of landing here when an alarm should watch it. Avoid logic: `ingest` has it.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestration.environment import Environment

ASKED_EVERY_S = 10.0
STALE_S = 60.0  # older numbers would hide that nobody answers


@dataclass(frozen=True)
class LandingNumbers:
    """What was found.

    Attributes:
        at: When, on the machine's monotonic clock.
        lag: Messages that wait, by topic and partition.
        age_s: Seconds since the last commit, by topic.
        behind_s: How far the newest row's event lies behind the tenant's plant clock, by topic and tenant.
        open_letters: Dead letters that wait for a replay, by topic.
        open_sinks: Whether a sink can't be written to, by lander and sink.
        refused: Topics that are left out, by lander and topic.
        failures: Sources that did not answer.
    """

    at: float
    lag: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    age_s: dict[str, float] = field(default_factory=dict[str, float])
    behind_s: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    open_letters: dict[str, int] = field(default_factory=dict[str, int])
    open_sinks: dict[tuple[str, str], bool] = field(default_factory=dict[tuple[str, str], bool])
    refused: dict[tuple[str, str], bool] = field(default_factory=dict[tuple[str, str], bool])
    failures: tuple[str, ...] = ()


class LandingCollector(Collector):
    """Prometheus collector over the latest numbers."""

    def __init__(self, settings: Environment) -> None:
        """Ask nothing yet: the first scrape starts the thread."""
        self._settings, self._numbers = settings, LandingNumbers(float("-inf"))
        self._started = threading.Lock()

    def describe(self) -> list[Metric]:
        """Nothing, so that registering asks nobody."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The latest numbers; before the first answer, and when they are old, only that there are none."""
        if self._started.acquire(blocking=False):
            threading.Thread(target=self._ask, name="landing metrics", daemon=True).start()
        numbers = self._numbers
        is_fresh = time.monotonic() - numbers.at < STALE_S
        up = GaugeMetricFamily("opsgraph_landing_up", "1 where Postgres and Kafka answer.", labels=["source"])
        for source in ("postgres", "kafka"):
            up.add_metric([source], float(is_fresh and source not in numbers.failures))
        yield up
        if is_fresh:
            yield from _families(numbers)

    def _ask(self) -> None:
        from orchestration.ingest.contracts import load_contracts
        from orchestration.ingest.landing import landed_topics

        topics = landed_topics(load_contracts())
        while True:
            self._numbers = ask(self._settings, topics)
            time.sleep(ASKED_EVERY_S)


def _families(numbers: LandingNumbers) -> Iterator[Metric]:
    for name, description, labels, values in (
        ("lag_messages", "Messages that wait to be landed.", ("topic", "partition"), numbers.lag),
        ("last_commit_age_seconds", "Time since the last commit.", ("topic",), numbers.age_s),
        (
            "behind_plant_clock_seconds",
            "How far a topic's newest event lies behind the tenant's plant clock.",
            ("topic", "tenant"),
            numbers.behind_s,
        ),
        ("open_dead_letters", "Refused messages that wait for a replay.", ("topic",), numbers.open_letters),
        ("sink_open", "1 where a lander waits for a sink.", ("lander", "sink"), numbers.open_sinks),
        (
            "topic_refused",
            "1 where a lander leaves a topic out; `opsgraph topics` says why.",
            ("lander", "topic"),
            numbers.refused,
        ),
    ):
        family = GaugeMetricFamily(f"opsgraph_landing_{name}", description, labels=labels)
        for key, value in values.items():
            family.add_metric(key if isinstance(key, tuple) else (key,), float(value))
        yield family


def ask(settings: Environment, topics: Sequence[str]) -> LandingNumbers:
    """Ask Postgres and Kafka once; what does not answer is named.

    Args:
        settings: Addresses.
        topics: Topics that are landed.
    """
    import psycopg

    from orchestration.ingest.lag import lag
    from orchestration.ingest.offsets import LandingError
    from orchestration.ingest.services import LandingServices
    from orchestration.ingest.sink_states import STATE_FILE, known_states

    failures: list[str] = []
    numbers = LandingNumbers(time.monotonic())
    for lander in known_states(settings.database_url, settings.state_dir / STATE_FILE):
        for sink, state in lander.sinks.items():
            numbers.open_sinks[lander.lander, sink] = bool(state["is_open"])
        numbers.refused.update({(lander.lander, topic): True for topic in lander.refused})
    try:
        with psycopg.connect(settings.database_url, connect_timeout=3) as connection:
            numbers.age_s.update(connection.execute(_AGES).fetchall())
            numbers.behind_s.update({(t, tenant): late for t, tenant, late in connection.execute(_BEHIND)})
            numbers.open_letters.update(connection.execute(_LETTERS).fetchall())
    except psycopg.Error:
        failures.append("postgres")
    try:
        services = LandingServices(
            settings.database_url,
            settings.kafka_bootstrap_servers,
            settings.lake_url,
            settings.lake_catalog_uri,
        )
        found = lag(services, topics)
        numbers.lag.update({(item.topic, str(item.partition)): len(span) for item, span in found.items()})
    except LandingError:
        failures.append("kafka")
    except psycopg.Error:
        failures.append("postgres")
    return replace(numbers, failures=tuple(failures))


_AGES = """
    select topic, extract(epoch from now() - max(updated_at))::float8
    from ops.consumer_offsets where consumer = 'landing' group by topic
"""
_BEHIND = """
    select w.topic, w.tenant_id, extract(epoch from c.plant_now_at - max(w.max_event_at))::float8
    from ops.event_watermarks as w
    inner join ops.plant_clock as c on c.tenant_id = w.tenant_id
    group by w.topic, w.tenant_id, c.plant_now_at
"""
_LETTERS = "select topic, count(*) from ops.dead_letters where replayed_at is null group by topic"
