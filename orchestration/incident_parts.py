"""Puts the incident service together: the search for runbooks, the channels, the maker of alerts.

It stands above the domain packages because incidents know no index and documents know no incidents. Add a
wiring here when a process of its own needs one. Avoid logic.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg

from orchestration.environment import Environment
from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.delivery.alerting import AlertMaker
from orchestration.ingest.delivery.channels import Channel, read_channels
from orchestration.ingest.delivery.queue import ALERT_TOPIC
from orchestration.ingest.incidents.remediation import (
    Passage,
    RunbookSearch,
    RunbookText,
    SearchUnavailableError,
)

if TYPE_CHECKING:
    from orchestration.ingest.incident_service import IncidentServiceSettings
    from rag_assets.retrieval import Retriever

SEARCH_TIMEOUT_S = 1.0
"""The alert may take 2 s from the close of its window; a search that needs longer gives its fix later."""


def api_search(api_url: str) -> RunbookSearch:
    """Search by the API's `/query`: the API holds the embedded index.

    Args:
        api_url: `http://host:port`.
    """
    import httpx

    from rag_assets.retrieval import Evidence

    client = httpx.Client(base_url=api_url, timeout=SEARCH_TIMEOUT_S)

    def search(question: str, tenant_id: str, top: int) -> Sequence[Passage]:
        body = {"query": question[:8000], "tenant_id": tenant_id, "top_k": top}
        try:
            response = client.post("/query", json=body)
            response.raise_for_status()
            hits = response.json()["hits"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise SearchUnavailableError(f"{api_url}/query: {type(error).__name__}: {error}") from error
        return [
            Passage(
                document_id=hit["document_id"],
                version=hit["version"],
                title=hit["title"],
                section=hit["section"],
                text=hit["text"],
                is_evidence=Evidence(
                    hit["cosine"], hit["bm25"], hit["fielded_bm25"], hit["coverage"]
                ).is_sufficient,
            )
            for hit in hits
        ]

    return search


def retriever_search(retriever: "Retriever") -> RunbookSearch:
    """Search in this process, for evals and tests."""
    from rag_assets.retrieval import SearchRequest

    def search(question: str, tenant_id: str, top: int) -> Sequence[Passage]:
        hits = retriever.search(SearchRequest(question, tenant_id, datetime.now(UTC).date(), top))
        return [
            Passage(
                document_id=hit.document.document_id,
                version=hit.document.version,
                title=hit.passage.title,
                section=hit.passage.section,
                text=hit.passage.text,
                is_evidence=hit.evidence.is_sufficient,
            )
            for hit in hits
        ]

    return search


def stored_runbook(database_url: str) -> RunbookText:
    """Read whole documents from the corpus in Postgres."""

    def text_of(tenant_id: str, document_id: str, version: str) -> str | None:
        with psycopg.connect(database_url) as connection:
            row = connection.execute(
                """
                select content from rag.documents
                where tenant_id = %s and document_id = %s and version = %s
                """,
                (tenant_id, document_id, version),
            ).fetchone()
        return str(row[0]) if row else None

    return text_of


def channels_of(environment: Environment) -> tuple[Channel, ...]:
    """The receivers of alerts that the settings name.

    Raises:
        ChannelsError: The file can't be used.
    """
    return read_channels(environment.channels_file)


def alert_maker(environment: Environment) -> AlertMaker:
    """Makes alerts with the running API's knowledge.

    Raises:
        ChannelsError: The file of channels can't be used.
    """
    return AlertMaker(
        search=api_search(environment.api_url),
        text_of=stored_runbook(environment.database_url),
        contract=load_contracts()[ALERT_TOPIC],
        channels=channels_of(environment),
    )


def service_settings(environment: Environment) -> "IncidentServiceSettings":
    """Addresses of the incident service."""
    from orchestration.ingest.incident_service import IncidentServiceSettings

    return IncidentServiceSettings(
        database_url=environment.database_url,
        bootstrap_servers=environment.kafka_bootstrap_servers,
        dagster_url=environment.dagster_url,
        platform_tenant=environment.platform_tenant,
    )


def watch_services(environment: Environment) -> str:
    """Write a signal for each service without signs of life; stand in for the incident service if it is one.

    Returns:
        What was found, in a sentence.
    """
    from orchestration.ingest.incident_service import NAME, IncidentService
    from orchestration.ingest.incidents import liveness
    from orchestration.ingest.signals import write_signals

    now = datetime.now(UTC)
    with psycopg.connect(environment.database_url) as connection:
        components = liveness.known_components(connection)
        signals = liveness.liveness_signals(components, environment.platform_tenant, now)
        write_signals(connection, signals)
    is_served = any(item.name == NAME and not item.is_dead(now) for item in components)
    if not is_served:
        alerts = alert_maker(environment)
        IncidentService(service_settings(environment), alerts, alerts.channels).work_once()
    names = ", ".join(signal.subject for signal in signals) or "none"
    return f"without signs of life: {names}; incident service {'runs' if is_served else 'does not run'}"


def report_failed_run(environment: Environment, job: str, run_id: str, message: str) -> None:
    """Write a signal about a run that failed."""
    from orchestration.ingest.incidents.intake import CERTAIN
    from orchestration.ingest.signals import Signal, SignalKind, write_signals

    now = datetime.now(UTC)
    signal = Signal(
        tenant_id=environment.platform_tenant,
        kind=SignalKind.LIVENESS,
        subject=f"job:{job}",
        observed_at=now,
        known_at=now,
        score=CERTAIN,
        summary=f"Dagster run of {job} failed: {message.splitlines()[0][:200]}",
        evidence={"run_id": run_id, "sample_lines": message.splitlines()[:5]},
    )
    with psycopg.connect(environment.database_url) as connection:
        write_signals(connection, [signal])
