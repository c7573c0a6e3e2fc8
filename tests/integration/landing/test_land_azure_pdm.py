"""The real set through the whole landing path."""

import shutil
from pathlib import Path

import pytest

from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.landing import land_topic
from orchestration.ingest.landing_report import LandingReport
from orchestration.ingest.ledger import Counts
from orchestration.ingest.ledger_check import check_ledger
from orchestration.ingest.replay.azure_pdm import replay_azure_pdm
from orchestration.ingest.services import LandingServices
from orchestration.ingest.topics import ensure_topics

pytestmark = [pytest.mark.integration, pytest.mark.data]
TOPICS = ("equipment-sensors", "equipment-status", "maintenance-events")


def test_azure_pdm_is_complete_by_arithmetic(
    azure_pdm_dir: Path, database_url: str, empty_database_url: str, kafka_servers: str, services_dir: Path
) -> None:
    """Forbids one row of real data that is lost, doubled or refused between file, broker, raw and lake."""
    contracts = load_contracts()
    ensure_topics(kafka_servers, contracts)
    services = LandingServices(
        database_url=database_url,
        bootstrap_servers=kafka_servers,
        lake_url=str(services_dir / "lake-azure-pdm"),
        catalog_uri=empty_database_url.replace("postgresql://", "postgresql+psycopg2://"),
    )

    def land_all() -> dict[str, LandingReport]:
        return {topic: land_topic(topic, services, contracts=contracts) for topic in TOPICS}

    land_all()  # what other tests of this session have left in the topics
    sent = replay_azure_pdm(azure_pdm_dir, database_url=database_url, bootstrap_servers=kafka_servers)
    landed = land_all()

    # 20 machines, hourly from 2015-01-01 06:00, 90 days: 20 × 2,160
    assert landed["equipment-sensors"].counts == Counts(landed=43_200)
    assert {topic: landed[topic].counts for topic in TOPICS} == {
        topic: Counts(landed=sent.messages[topic]) for topic in TOPICS
    }
    report = check_ledger(services, contracts, TOPICS)
    assert report.is_balanced, report.faults
    for balance in report.balances:
        assert balance.raw_rows == balance.lake_rows == balance.counts.landed
        assert balance.pending == 0
    shutil.rmtree(services_dir / "lake-azure-pdm", ignore_errors=True)
