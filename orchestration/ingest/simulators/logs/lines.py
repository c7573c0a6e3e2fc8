"""Makes log lines: healthy traffic by weight and level, with the lines of anomalies in between.

The same seed gives the same lines. Labels go along in fields of their own, which no detector reads.
Add a field of a line here. Avoid sending: `outputs` does.
"""

import json
import random
from bisect import bisect
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

from orchestration.ingest.simulators.logs.config import AnomalyType, LogConfig, SourceConfig
from orchestration.ingest.simulators.logs.episodes import Episode, begin
from orchestration.ingest.simulators.logs.phrases import ANOMALOUS, HEALTHY, USERS, Step

_quoted = json.dumps
RESPONSE_SPREAD = 0.4
"""Standard deviation of the logarithm of response times: p95 is about twice the median."""
STRAYS: tuple[Step, ...] = tuple(step for steps in ANOMALOUS.values() for part in steps for step in part)


class LogLine(NamedTuple):
    """One line with its label; a tuple, since making a frozen dataclass takes 2 of a line's 20 µs.

    Attributes:
        event_at: When it was written (UTC).
        level: Its level.
        source: Service.
        message: Text.
        response_time_ms: Response time; None where the line reports none.
        anomaly_type: Label: the anomaly that it belongs to; None for healthy lines.
        anomaly_score: Label: how far the anomaly had come, in (0, 1].
    """

    event_at: datetime
    level: str
    source: str
    message: str
    response_time_ms: float | None
    anomaly_type: AnomalyType | None = None
    anomaly_score: float = 0.0

    def record(self, tenant_id: str, *, with_truth: bool = True) -> dict[str, Any]:
        """The line as a record of the contract `raw_logs`."""
        record: dict[str, Any] = {
            "tenant_id": tenant_id,
            "event_at": self.event_at.isoformat(),
            "level": self.level,
            "source": self.source,
            "message": self.message,
            "response_time_ms": self.response_time_ms,
        }
        if with_truth:
            record["is_anomaly"] = self.anomaly_type is not None
            record["anomaly_type"] = self.anomaly_type.value if self.anomaly_type else None
            record["anomaly_score"] = self.anomaly_score
        return record

    def encode(self, tenant_id: str, *, with_truth: bool = True) -> bytes:
        """The record as JSON; written out, since a generic encoder takes three times as long."""
        took = "null" if self.response_time_ms is None else f"{self.response_time_ms}"
        text = (
            f'{{"tenant_id":{_quoted(tenant_id)},"event_at":"{self.event_at.isoformat()}",'
            f'"level":"{self.level}","source":{_quoted(self.source)},"message":{_quoted(self.message)},'
            f'"response_time_ms":{took}'
        )
        if not with_truth:
            return f"{text}}}".encode()
        kind = f'"{self.anomaly_type.value}"' if self.anomaly_type else "null"
        flag = "true" if self.anomaly_type else "false"
        return (
            f'{text},"is_anomaly":{flag},"anomaly_type":{kind},"anomaly_score":{self.anomaly_score}}}'
        ).encode()

    def text(self) -> str:
        """The line as a person reads it on a terminal."""
        took = f" ({self.response_time_ms:.0f} ms)" if self.response_time_ms is not None else ""
        return f"{self.event_at.isoformat()} {self.level:<8} {self.source}: {self.message}{took}"


class LogGenerator:
    """Endless lines at an even rate.

    Attributes:
        running: Anomalies that run, by source.
    """

    def __init__(
        self, config: LogConfig, seed: int, starts_at: datetime, lines_per_second: float = 100.0
    ) -> None:
        """Set up.

        Args:
            config: What to write.
            seed: Of every draw.
            starts_at: Time of the first line.
            lines_per_second: Of the lines' own time.
        """
        self._config = config
        self._rng = random.Random(seed)  # noqa: S311
        self._now = starts_at
        self._step = timedelta(seconds=1.0 / lines_per_second)
        self._sources = config.sources
        self._source_sums = list(accumulate(source.weight for source in config.sources))
        self._level_names = [name for name, _ in config.levels]
        self._level_sums = list(accumulate(share for _, share in config.levels))
        self.running: dict[str, Episode] = {}

    def inject(self, kind: AnomalyType, source: str | None = None) -> Episode:
        """Begin an anomaly now; it replaces one that runs in the same source.

        Args:
            kind: Type.
            source: Service; drawn by weight when None.

        Raises:
            KeyError: There is no such service.
        """
        by_name = {item.name: item for item in self._sources}
        chosen = by_name[source] if source is not None else self._draw_source()
        self.running[chosen.name] = begin(self._config, self._rng, chosen, kind)
        return self.running[chosen.name]

    def lines(self, count: int) -> Iterator[LogLine]:
        """The next lines."""
        for _ in range(count):
            yield self._next()

    def _next(self) -> LogLine:
        rng, config = self._rng, self._config
        source, at = self._draw_source(), self._now
        self._now = at + self._step
        episode = self.running.get(source.name)
        if episode is None and config.anomaly_probability and rng.random() < config.anomaly_probability:
            episode = self.running[source.name] = begin(config, rng, source)
        if episode is not None:
            score = max(episode.progress, 0.1)
            response_ms = self._response_ms(source) * episode.factor
            resource, kind = episode.resource, episode.type
            level, text = episode.next_step(rng)
            if episode.is_over:
                del self.running[source.name]
            message = self._fill(text, response_ms, resource)
            return LogLine(at, level, source.name, message, response_ms, kind, round(score, 3))
        response_ms = self._response_ms(source)
        if rng.random() < config.stray_probability:
            level, text = rng.choice(STRAYS)
        else:
            level = self._level_names[min(bisect(self._level_sums, rng.random()), len(self._level_names) - 1)]
            texts = HEALTHY[level]
            text = texts[int(rng.random() * len(texts))]
        return LogLine(at, level, source.name, self._fill(text, response_ms, "memory"), response_ms)

    def _draw_source(self) -> SourceConfig:
        at = bisect(self._source_sums, self._rng.random())
        return self._sources[min(at, len(self._sources) - 1)]

    def _response_ms(self, source: SourceConfig) -> float:
        return round(source.response_ms * self._rng.lognormvariate(0.0, RESPONSE_SPREAD), 1)

    def _fill(self, text: str, response_ms: float, resource: str) -> str:
        if "{" not in text:
            return text
        number = self._rng.getrandbits(40)
        ip = f"10.{number % 7}.{number // 7 % 250}.{number // 1750 % 250}" if "{ip}" in text else ""
        return text.format(
            id=f"{number:010x}", n=number % 100_000, ms=int(response_ms), resource=resource,
            user=USERS[number % len(USERS)], low=40 + number % 25, ip=ip,
        )  # fmt: skip
