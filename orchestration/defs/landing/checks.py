"""The ledger's arithmetic as a blocking check of each raw table, and the share of refused messages.

The blocking check counts the rows that no earlier check has counted; the nightly care counts all of them.

Add a check here when it judges what was landed. Avoid the arithmetic: `ledger_check` does it.
"""

import dagster as dg

from orchestration.defs.landing.assets import CONTRACTS, LANDED, raw_key
from orchestration.environment import Environment
from orchestration.ingest.contracts import TopicContract
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.lake import LakeResource
from orchestration.resources.postgres import PostgresResource


def ledger_check(contract: TopicContract) -> dg.AssetChecksDefinition:
    """The check that nothing downstream runs without."""

    @dg.asset_check(
        asset=raw_key(contract),
        name="ledger_balances",
        blocking=True,
        description="Offset ranges have no gap and no overlap; broker, ledger, raw table and lake agree.",
    )
    def ledger_balances(
        postgres: PostgresResource, kafka: KafkaResource, lake: LakeResource
    ) -> dg.AssetCheckResult:
        from orchestration.defs.landing.metadata import ledger_metadata
        from orchestration.defs.landing.services import landing_services
        from orchestration.ingest.ledger_check import check_ledger

        services = landing_services(postgres, kafka, lake)
        report = check_ledger(services, CONTRACTS, [contract.topic], is_full=False)
        return dg.AssetCheckResult(passed=report.is_balanced, metadata=ledger_metadata(report))

    return ledger_balances


def invalid_share_check(contract: TopicContract) -> dg.AssetChecksDefinition:
    """A warning, then an error, when a topic's sources send too much that its contract refuses."""

    @dg.asset_check(
        asset=raw_key(contract),
        name="invalid_share",
        description="Share of refused and discarded messages in the 24 h before the newest landing: warns "
        "above 1 %, fails above 5 % (OPSGRAPH_INVALID_SHARE_WARN, OPSGRAPH_INVALID_SHARE_FAIL).",
    )
    def invalid_share(postgres: PostgresResource) -> dg.AssetCheckResult:
        from orchestration.ingest.recent_landing import invalid_share as share_of

        settings = Environment()
        with postgres.connect() as connection:
            share = share_of(connection, contract.topic)
        is_error = share > settings.invalid_share_fail
        return dg.AssetCheckResult(
            passed=share <= min(settings.invalid_share_warn, settings.invalid_share_fail),
            severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
            metadata={"share": share},
        )

    return invalid_share


def topic_health_check(contract: TopicContract) -> dg.AssetChecksDefinition:
    """A warning when a topic does not look as it usually does at this hour."""

    @dg.asset_check(
        asset=raw_key(contract),
        name="looks_as_usual",
        description="Rows of the last hour as at this hour of other days; no key silent; no field vanished.",
    )
    def looks_as_usual(postgres: PostgresResource) -> dg.AssetCheckResult:
        from orchestration.defs.landing.metadata import health_metadata
        from orchestration.ingest.topic_health import judge, observe

        with postgres.connect() as connection:
            observe(connection, contract)
            found = judge(connection, contract)
        passed = not any(
            item.silent_keys or item.changed_fields or (item.volume and item.volume.is_unusual)
            for item in found
        )
        metadata = health_metadata(found)
        return dg.AssetCheckResult(passed=passed, severity=dg.AssetCheckSeverity.WARN, metadata=metadata)

    return looks_as_usual


ledger_checks = [ledger_check(contract) for contract in LANDED]
invalid_share_checks = [invalid_share_check(contract) for contract in LANDED]
topic_health_checks = [topic_health_check(contract) for contract in LANDED]
