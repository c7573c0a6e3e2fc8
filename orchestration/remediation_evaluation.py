"""How often the right runbook is first, for the generator's six kinds of trouble and the project's corpus.

The lines are drawn as the generator writes them, one healthy line among five, and each becomes a finding of
the kind that the detector gives such a line. It stands above the domain packages, since it needs the
generator and the retriever. Avoid tuning here.
"""

import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.incident_parts import retriever_search
from orchestration.ingest.incidents.grouping import group
from orchestration.ingest.incidents.model import Incident
from orchestration.ingest.incidents.remediation import Plan, RunbookSearch, plan_for
from orchestration.ingest.incidents.topology import Topology
from orchestration.ingest.logs.statement_kinds import kind_of
from orchestration.ingest.signals import Signal, SignalKind
from orchestration.ingest.simulators.logs.config import AnomalyType, load_config
from orchestration.ingest.simulators.logs.lines import LogGenerator

if TYPE_CHECKING:
    from rag_assets.embedding import Embedder
    from rag_assets.retrieval import Retriever

TENANT = "demo-plant"
SECURITY = ("security-brute-force", "security-sql-injection", "security-xss")
RIGHT: Mapping[AnomalyType, Sequence[str]] = {
    AnomalyType.ERROR_SPIKE: ("log-error-spike",),
    AnomalyType.LATENCY_DEGRADATION: ("latency-degradation",),
    AnomalyType.SECURITY_THREAT: SECURITY,
    AnomalyType.RESOURCE_EXHAUSTION: ("resource-exhaustion",),
    AnomalyType.SERVICE_OUTAGE: ("service-outage",),
    AnomalyType.DATA_ANOMALY: ("data-anomaly",),
}
"""The runbook that an engineer would open; a security threat has one per kind of attack."""


@dataclass(frozen=True)
class RemediationQuality:
    """Figures over all drawn incidents.

    Attributes:
        seed: Draws lines and sources.
        incidents: Incidents drawn.
        right_first: Share whose first runbook is the right one.
        right_in_top5: Share that has it among the five.
        refused: Share without any runbook.
        by_type: Share of right first per kind of trouble.
        unrelated_refused: Share of questions without a runbook that were refused.
        p95_ms: 95th percentile of a plan, search included.
    """

    seed: int
    incidents: int
    right_first: float
    right_in_top5: float
    refused: float
    by_type: dict[str, float]
    unrelated_refused: float
    p95_ms: float


UNRELATED = (
    "the cafeteria menu was changed to fish on Friday",
    "annual leave request of employee 4711 waits for its manager",
    "the parking lot gate is painted blue from Monday on",
    "invoice 99812 was paid in Swiss francs instead of euros",
    "the marketing newsletter has a typing error in its third paragraph",
)
"""Lines that no runbook of the corpus is about."""


def evaluate_remediation(retriever: "Retriever", seed: int, per_type: int = 20) -> RemediationQuality:
    """Draw incidents of every type and ask for their runbooks.

    Args:
        retriever: Over the project's corpus.
        seed: Draws lines, sources and steps.
        per_type: Incidents of each type.
    """
    search = retriever_search(retriever)
    rng = random.Random(seed)  # noqa: S311
    first: dict[AnomalyType, list[bool]] = {}
    in_five: list[bool] = []
    refused: list[bool] = []
    took_ms: list[float] = []
    for kind, right, lines, source in _drawn(rng, per_type):
        incident, signals = _incident(source, lines)
        begun = time.perf_counter()
        plan = plan_for(incident, signals, search, lambda *_: None)
        took_ms.append((time.perf_counter() - begun) * 1000)
        names = [passage.document_id for passage in plan.passages]
        first.setdefault(kind, []).append(names[:1] == [right])
        in_five.append(right in names)
        refused.append(plan.status == "refused")
    hits = [hit for values in first.values() for hit in values]
    return RemediationQuality(
        seed=seed,
        incidents=len(hits),
        right_first=statistics.fmean(hits),
        right_in_top5=statistics.fmean(in_five),
        refused=statistics.fmean(refused),
        by_type={kind.value: statistics.fmean(values) for kind, values in first.items()},
        unrelated_refused=statistics.fmean(_plan_of(line, search).status == "refused" for line in UNRELATED),
        p95_ms=statistics.quantiles(took_ms, n=20)[-1],
    )


def index_corpus(folder: Path, embedder: "Embedder", work: Path) -> "Retriever":
    """Index a folder of Markdown in `work`, for this evaluation alone.

    Args:
        folder: The corpus.
        embedder: Makes the vectors.
        work: Empty folder for the index.
    """
    from contextlib import closing

    from rag_assets.chunking import ChunkerSettings
    from rag_assets.documents import read_folder
    from rag_assets.embedding_cache import FileKeeper
    from rag_assets.index.edge import EdgeStore
    from rag_assets.index.points import make_points
    from rag_assets.retrieval import Retriever

    store = EdgeStore(work / "index")
    writer = store.create("remediation", embedder.dimension)
    with closing(FileKeeper(work / "embeddings.sqlite")) as keeper:
        writer.add(make_points(read_folder(folder).documents, embedder, keeper, ChunkerSettings()).points)
    writer.close()
    return Retriever(store.open("remediation"), embedder)


def _drawn(
    rng: random.Random, per_type: int
) -> Iterator[tuple[AnomalyType, str, list[tuple[str, str]], str]]:
    """Kind, right runbook, lines and source of each incident; one line in five is a healthy one."""
    config = replace(load_config(), anomaly_probability=0.0)
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    for kind, right in RIGHT.items():
        for _ in range(per_type):
            generator = LogGenerator(config, rng.randrange(2**31), noon)
            episode = generator.inject(kind)
            written = list(generator.lines(2_000))
            anomalous = [(line.level, line.message) for line in written if line.anomaly_type]
            healthy = [(line.level, line.message) for line in written if not line.anomaly_type]
            shown = rng.sample(anomalous, min(len(anomalous), 4)) + rng.sample(healthy, 1)
            rng.shuffle(shown)
            named = right[episode.variant % len(right)]
            yield kind, named, shown, episode.source.name


def _incident(source: str, lines: Sequence[tuple[str, str]]) -> tuple[Incident, list[Signal]]:
    end = datetime(2026, 3, 2, 12, tzinfo=UTC)
    by_kind: dict[SignalKind, list[str]] = {}
    for level, message in lines:
        by_kind.setdefault(kind_of(level, message, is_new=False), []).append(message)
    signals = [
        Signal(
            tenant_id=TENANT,
            kind=kind,
            subject=source,
            observed_at=end,
            known_at=end,
            score=8.0 + len(messages),  # what is written more often stands out more
            summary=messages[0],
            evidence={
                "window_starts_at": (end - timedelta(minutes=1)).isoformat(),
                "sample_lines": messages,
            },
        )
        for kind, messages in by_kind.items()
    ]
    grouped = group(signals, [], Topology())
    return next(iter(grouped.incidents.values())), signals


def _plan_of(line: str, search: RunbookSearch) -> Plan:
    incident, signals = _incident("office", [("WARNING", line)])
    return plan_for(incident, signals, search, lambda *_: None)
