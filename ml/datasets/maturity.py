"""Until when failures are known: a topic that lags makes hours without a failure look like negatives.

A label is mature when its horizon has passed on the plant clock, which the sensor topic moves. While failures
wait in Kafka, or have landed and are not built, the clock of the labels stands at the last event that is
built. Avoid asking Kafka here: whoever trains says whether something waits there.
"""

from datetime import datetime

import psycopg

FAILURE_TOPIC = "maintenance-events"
_UNBUILT = """
select exists (
    select from ops.landing_ledger as ledger
    where ledger.topic = %s and ledger.landed > 0 and not exists (
        select from intermediate.processed_batches as built
        where built.model_name = 'int_equipment_events_deduplicated' and built.batch_id = ledger.batch_id
    )
)
"""


def labels_known_until(database_url: str, tenant_id: str, is_waiting: bool) -> datetime | None:
    """Instant up to which every failure of a tenant is known; None where that is the plant clock.

    Args:
        database_url: The opsgraph database, with a built warehouse.
        tenant_id: Whose failures.
        is_waiting: Whether messages of the failure topic wait in Kafka.
    """
    with psycopg.connect(database_url) as connection:
        remembers = connection.execute("select to_regclass('intermediate.processed_batches')").fetchone()
        if not is_waiting and remembers and remembers[0] is not None:
            unbuilt = connection.execute(_UNBUILT, (FAILURE_TOPIC,)).fetchone()
            is_waiting = bool(unbuilt and unbuilt[0])
        if not is_waiting:
            return None
        row = connection.execute(
            "select max(event_at) from marts.fact_equipment_events"
            " where tenant_id = %s and event_type <> 'error'",
            (tenant_id,),
        ).fetchone()
    return row[0] if row else None
