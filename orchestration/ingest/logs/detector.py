"""Judges windows of log lines and names the source at fault.

One detector for one tenant's lines: traces, untraced statements, response times, silence and resource
metrics, each as a tail probability, so that one threshold is one false-alarm rate. While an alert is open
nothing is learned. Add a family of statistics as a module beside this one. Avoid Kafka and Postgres here.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from orchestration.ingest.logs.evidence import Evidence, Suspect, Verdict, WindowLines
from orchestration.ingest.logs.resources import ResourceHistory
from orchestration.ingest.logs.statements import StatementFindings, StatementJudge
from orchestration.ingest.logs.traces import TraceFindings, TraceJudge

ALERT_SCORE = 5.0
"""One window in 100,000 would reach it by chance for one statistic; a window has a few hundred of them."""
LOOK_PENALTY = 1.0
"""Extra score for a look into an open window: a second look at the same lines doubles the chances."""
SHOWN_SCORE = 2.0


@dataclass
class LogDetector:
    """Memory and judgement. `look` judges an open window and remembers nothing; `close` judges and learns.

    Attributes:
        alert_score: Threshold of an alert.
        traces: Memory of traces.
        statements: Memory of lines without traces.
        resources: Memory of resource metrics.
    """

    alert_score: float = ALERT_SCORE
    traces: TraceJudge = field(default_factory=TraceJudge)
    statements: StatementJudge = field(default_factory=StatementJudge)
    resources: ResourceHistory = field(default_factory=ResourceHistory)

    def look(self, window: WindowLines, seen_until: datetime) -> Verdict:
        """Judge the part of a window that is there, against a higher threshold; nothing is learned."""
        traces = self.traces.judge(window, seen_until)
        statements = self.statements.judge(window, seen_until, is_whole=False)
        return self._verdict(window, seen_until, traces, statements, self.alert_score + LOOK_PENALTY)

    def close(self, window: WindowLines) -> Verdict:
        """Judge a whole window, then learn from it what does not look wrong."""
        traces = self.traces.judge(window, window.ends_at)
        statements = self.statements.judge(window, window.ends_at, is_whole=True)
        verdict = self._verdict(window, window.ends_at, traces, statements, self.alert_score)
        resources = self.resources.judge(window.metrics)
        # A hogged processor changes traces before it breaks them: neither is learned meanwhile.
        bad = [item for item in (*traces.evidence, *resources) if item.score >= self.alert_score]
        self.traces.close(window, traces, bool(bad))
        alerting = {suspect.source for suspect in verdict.suspects if suspect.score >= self.alert_score}
        self.statements.close(window, statements, frozenset(alerting))
        high = {item.source for item in resources}
        self.resources.learn(window.metrics, frozenset(high))
        return verdict

    @property
    def is_warm(self) -> bool:
        """Whether any history is long enough to judge by."""
        return self.traces.is_warm or self.statements.is_warm

    def _verdict(
        self,
        window: WindowLines,
        judged_at: datetime,
        traces: TraceFindings,
        statements: StatementFindings,
        threshold: float,
    ) -> Verdict:
        evidence = [*traces.evidence, *statements.evidence]
        evidence += self.resources.judge(point for point in window.metrics if point.at < judged_at)
        suspects = rank(evidence)
        is_alert = bool(suspects) and suspects[0].score >= threshold
        return Verdict(window.starts_at, judged_at, is_alert, self.is_warm, suspects, threshold)


def rank(evidence: list[Evidence]) -> tuple[Suspect, ...]:
    """Sources by their strongest evidence; evidence below 2 is chance and left out."""
    by_source: dict[str, list[Evidence]] = defaultdict(list)
    for item in evidence:
        if item.score >= SHOWN_SCORE:
            by_source[item.source].append(item)
    suspects = [
        Suspect(source, max(item.score for item in items), tuple(sorted(items, key=lambda i: -i.score)))
        for source, items in by_source.items()
    ]
    return tuple(sorted(suspects, key=lambda suspect: (-suspect.score, suspect.source)))
