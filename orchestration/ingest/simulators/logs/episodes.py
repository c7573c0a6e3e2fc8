"""The state machine of anomalies: which one runs in which source, and which step comes with the next line.

Add a rule of progression here. Avoid texts (`phrases`) and traffic (`lines`).
"""

import random
from dataclasses import dataclass

from orchestration.ingest.simulators.logs.config import AnomalyConfig, AnomalyType, LogConfig, SourceConfig
from orchestration.ingest.simulators.logs.phrases import ANOMALOUS, RESOURCES, Step


@dataclass
class Episode:
    """One anomaly from its first line to its last.

    Attributes:
        type: What runs.
        source: Service that it runs in.
        total: Lines that it lasts.
        variant: Step of a security threat, resource of an exhaustion; drawn at the begin.
        multiplier: Highest factor of response times.
        written: Lines so far.
    """

    type: AnomalyType
    source: SourceConfig
    total: int
    variant: int
    multiplier: float
    written: int = 0

    @property
    def is_over(self) -> bool:
        """Whether its last line is written."""
        return self.written >= self.total

    @property
    def progress(self) -> float:
        """How far it is, from 0 to 1."""
        return self.written / max(self.total - 1, 1)

    @property
    def resource(self) -> str:
        """What runs out, where something does."""
        return RESOURCES[self.variant % len(RESOURCES)]

    @property
    def factor(self) -> float:
        """Factor of response times at this line."""
        return 1.0 + (self.multiplier - 1.0) * self.progress

    def next_step(self, rng: random.Random) -> Step:
        """Level and text of the next line."""
        steps = ANOMALOUS[self.type]
        if self.type is AnomalyType.SECURITY_THREAT:
            choices = steps[self.variant % len(steps)]
        else:
            choices = steps[min(int(self.progress * len(steps)), len(steps) - 1)]
        self.written += 1
        return rng.choice(choices)


def begin(
    config: LogConfig, rng: random.Random, source: SourceConfig, kind: AnomalyType | None = None
) -> Episode:
    """Begin an anomaly in a source; its type is drawn by weight unless it is given."""
    chosen: AnomalyConfig = (
        next(item for item in config.anomalies if item.type is kind)
        if kind
        else rng.choices(config.anomalies, [item.weight for item in config.anomalies])[0]
    )
    total = rng.randint(chosen.fewest, chosen.most)
    return Episode(chosen.type, source, total, rng.randrange(1_000), chosen.multiplier)
