"""Whether failures wait in Kafka, which training asks before it takes hours for healthy."""

import logging

log = logging.getLogger(__name__)


def failures_wait(bootstrap_servers: str, database_url: str) -> bool:
    """Whether the failure topic has offsets that are not landed; True where the broker does not answer.

    Args:
        bootstrap_servers: `host:port,…`; empty means there is no broker, so nothing can wait there.
        database_url: The opsgraph database, for the landed positions.
    """
    if not bootstrap_servers:
        return False
    import psycopg

    from ml.datasets.maturity import FAILURE_TOPIC
    from orchestration.ingest.offsets import LandingError, broker_bounds, plan, positions
    from orchestration.ingest.topics import admin_client

    try:
        bounds = broker_bounds(admin_client(bootstrap_servers), [FAILURE_TOPIC])
    except LandingError as error:
        log.warning("%s Labels end at the last failure that is built.", error)
        return True
    with psycopg.connect(database_url) as connection:
        pending = plan(bounds, positions(connection, [FAILURE_TOPIC])).pending
    return any(len(span) for span in pending.values())
