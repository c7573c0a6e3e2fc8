"""Sends the simulated plant's messages to Kafka, from its position onward.

Add what concerns a run of the simulator here (how far, in which chunks). Avoid physics (`plant` and
below) and the terminal (`orchestration.commands.sources`).
"""

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.simulators.clock import PLANT_START
from orchestration.ingest.simulators.ground_truth import write_ground_truth
from orchestration.ingest.simulators.plant import (
    DEFAULT_SEED,
    DEFAULT_TENANT,
    TOPICS,
    PlantSimulator,
    SimulatorConfig,
)
from orchestration.ingest.sources import (
    FrameProducer,
    OnProgress,
    SourcePosition,
    SourceProgress,
    SourceReport,
)
from orchestration.ingest.topics import ensure_topics

_CHUNK = timedelta(days=2)  # about 4,000 messages: what a cut-off run sends twice at most


def simulate(
    *,
    database_url: str,
    bootstrap_servers: str,
    state_dir: Path,
    days: float | None = None,
    hours: float | None = None,
    seed: int = DEFAULT_SEED,
    tenant_id: str = DEFAULT_TENANT,
    schema_registry_url: str | None = None,
    on_progress: OnProgress | None = None,
) -> SourceReport:
    """Produce the plant's messages through a day of plant time, or some hours further.

    The position in `ops.source_positions` makes a repeated call send nothing twice. A run that was
    cut off after the broker took a chunk and before the position moved sends that chunk again; the
    repeats are identical and are resolved as duplicates downstream.

    Args:
        database_url: Database with the position.
        bootstrap_servers: Kafka brokers.
        state_dir: State folder; the ground truth goes to `simulator/` below it.
        days: Produce the plant's first `days` days, as far as they are missing.
        hours: Produce `hours` hours from the position on.
        seed: Seed of the plant; each seed is a source of its own.
        tenant_id: Tenant of the messages.
        schema_registry_url: Confluent-compatible registry; None takes the pinned schema ids.
        on_progress: Told after each chunk.

    Raises:
        ValueError: Not exactly one of `days` and `hours` is given, or it is not positive.
        SourceError: Another process is producing this source.
    """
    if (days is None) == (hours is None) or (days or hours or 0.0) <= 0.0:
        raise ValueError("Give either days or hours, and more than 0 of them")
    contracts = load_contracts()
    ensure_topics(bootstrap_servers, contracts)
    source = f"simulator/{tenant_id}/{seed}"
    with SourcePosition.held(database_url, source) as position:
        start = position.produced_through_at or PLANT_START
        end = PLANT_START + timedelta(days=days) if days else start + timedelta(hours=hours or 0.0)
        totals: dict[str, int] = dict.fromkeys(TOPICS, 0)
        if end > start:
            simulator = PlantSimulator(seed, SimulatorConfig(tenant_id=tenant_id))
            schemas = SchemaCatalog(contracts, schema_registry_url)
            producer = FrameProducer(bootstrap_servers, contracts, schemas)
            for low, high in _chunks(start, end):
                window = simulator.window(low, high)
                sent = producer.send(window.frames)
                position.move(high, {"messages": sent, "late": window.late, "duplicates": window.duplicates})
                totals = {topic: totals[topic] + sent[topic] for topic in TOPICS}
                if on_progress:
                    share = (high - start) / (end - start)
                    on_progress(SourceProgress(share, high, sum(totals.values())))
            write_ground_truth(state_dir, simulator, end, position.detail)
        return SourceReport(source, tenant_id, start, max(start, end), totals)


def _chunks(start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Consecutive windows that cover [start, end)."""
    bounds = [start]
    while bounds[-1] < end:
        bounds.append(min(bounds[-1] + _CHUNK, end))
    return list(pairwise(bounds))
