"""What a detector found in one window, and whom it blames.

These are plain values between detection, signals and evaluation. Avoid statistics here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from orchestration.ingest.signals import Signal, SignalKind


@dataclass(frozen=True)
class MetricPoint:
    """One value of one resource of a source.

    Attributes:
        source: Service that the value belongs to.
        metric: Name with its unit, `cpu_millicores`.
        at: When it was read.
        value: In the metric's unit.
    """

    source: str
    metric: str
    at: datetime
    value: float


@dataclass(frozen=True)
class WindowLines:
    """Everything that happened in one window.

    Attributes:
        starts_at: First instant of the window (UTC).
        ends_at: First instant after it.
        lines: `source, statement, level, message, event_at, trace_id, span_id, response_time_ms`.
        metrics: Values of resources read within it.
    """

    starts_at: datetime
    ends_at: datetime
    lines: pl.DataFrame
    metrics: tuple[MetricPoint, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """One reason to suspect one source.

    Attributes:
        kind: Which statistic spoke.
        source: Whom it blames.
        score: -log10 of the tail probability under quiet operation.
        summary: One sentence for a person.
        statements: Statements that it rests on, `source: statement`.
        operations: Sources next to it in the traces.
        numbers: Counts, thresholds and shares behind the score.
        samples: Lines to show.
    """

    kind: SignalKind
    source: str
    score: float
    summary: str
    statements: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    numbers: dict[str, Any] = field(default_factory=dict[str, Any])
    samples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suspect:
    """A source with all that speaks against it, the strongest first."""

    source: str
    score: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Verdict:
    """What a window looks like.

    Attributes:
        starts_at: First instant of the window.
        judged_at: Instant up to which lines were seen: the window's end, or a look before it.
        is_alert: Whether the first suspect's score reaches the threshold.
        is_warm: Whether the histories were long enough to judge at all.
        suspects: Sources by score, highest first.
        threshold: Least score of a finding: a look has a higher one than a close.
    """

    starts_at: datetime
    judged_at: datetime
    is_alert: bool
    is_warm: bool
    suspects: tuple[Suspect, ...]
    threshold: float

    def signals(self, tenant_id: str, known_at: datetime, stages: Mapping[str, float]) -> list[Signal]:
        """The suspects at or above the threshold as signals, one per kind of evidence.

        Args:
            tenant_id: Owner of the sources.
            known_at: When the window was judged, by the clock of the data.
            stages: Milliseconds of the stages that the lines went through; empty where they are not known.
        """
        found: list[Signal] = []
        for suspect in self.suspects:
            if suspect.score < self.threshold:
                continue
            first_of_kind = {item.kind: item for item in reversed(suspect.evidence)}
            for kind, item in first_of_kind.items():
                if item.score < self.threshold:
                    continue
                others = [other.summary for other in suspect.evidence if other is not item][:5]
                found.append(
                    Signal(
                        tenant_id,
                        kind,
                        suspect.source,
                        self.judged_at,
                        known_at,
                        item.score,
                        item.summary,
                        item.operations,
                        {
                            **item.numbers,
                            "statements": list(item.statements),
                            "sample_lines": list(item.samples),
                            "also": others,
                            "suspects": [
                                {"source": other.source, "score": round(other.score, 2)}
                                for other in self.suspects[:5]
                            ],
                            "window_starts_at": self.starts_at.isoformat(),
                            "stage_latencies_ms": dict(stages),
                        },
                    )
                )
        return found
