"""The days of logs in Dagster: grouping, alerts and checks of a partition, and the sensors' answers."""

from datetime import timedelta

import dagster as dg
import psycopg
import pytest
from made_up_signals import NOON, TENANT, finding, write

from orchestration.defs.logs import assets, sensors
from orchestration.incident_briefing import without_briefing
from orchestration.ingest.contracts import ensure_day_partition
from orchestration.ingest.incidents.lifecycle import group_signals
from orchestration.ingest.log_days import day_of, window_day
from orchestration.resources.postgres import PostgresResource

pytestmark = pytest.mark.integration
DAY = "2026-03-02"


def run(database_url: str, *chosen: object) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [*chosen],
        partition_key=DAY,
        resources={"postgres": PostgresResource(url=database_url)},
        instance=dg.DagsterInstance.ephemeral(),
    )


def test_a_day_is_grouped_and_told(database_url: str) -> None:
    """Forbids a backfill that leaves another day's findings in, or tells an incident twice."""
    write(database_url, finding("orders"), finding("orders", 1), finding("mail", 60 * 13))
    result = run(database_url, assets.log_incidents, assets.log_alerts)

    grouped = result.asset_materializations_for_node("logs__incidents")[0].metadata
    told = result.asset_materializations_for_node("logs__alerts")[0].metadata
    # Two findings of that day about one service; the third belongs to the next day.
    assert (grouped["signals_grouped"].value, grouped["dagster/row_count"].value) == (2, 1)
    assert (told["alerts_made"].value, told["dagster/row_count"].value) == (1, 1)
    again = run(database_url, assets.log_incidents, assets.log_alerts)
    assert again.asset_materializations_for_node("logs__alerts")[0].metadata["alerts_made"].value == 0
    with psycopg.connect(database_url) as connection:
        assert [item.subject for item in without_briefing(connection)] == ["orders"]


def test_no_briefing_is_asked_for_before_there_is_an_index(database_url: str) -> None:
    """Forbids runs that must fail on a fresh stack, each of which would be an incident of its own."""
    write(database_url, finding("orders"))
    with psycopg.connect(database_url) as connection:
        group_signals(connection)
    context = dg.build_sensor_context(resources={"postgres": PostgresResource(url=database_url)})
    found = sensors.new_incidents(context)
    assert isinstance(found, dg.SkipReason)
    assert "no index build" in (found.skip_message or "")


def test_a_window_that_lacks_landed_lines_fails_its_check(database_url: str) -> None:
    """Forbids windows that lost lines and look complete."""
    with psycopg.connect(database_url) as connection:
        ensure_day_partition(connection, "raw_logs", NOON.date())
        for offset in range(3):
            connection.execute(
                """
                insert into raw.raw_logs (batch_id, topic_id, kafka_partition, kafka_offset, known_at,
                    landed_at, tenant_id, event_at, level, source, message)
                values (1, gen_random_uuid(), 0, %s, %s, %s, %s, %s, 'INFO', 'orders', 'x')
                """,
                (offset, NOON, NOON, TENANT, NOON + timedelta(seconds=offset)),
            )
        connection.execute(
            """
            insert into logs.windows (tenant_id, source, starts_at, lines, errors, anomalies, responses,
                response_sum_ms, closed_at)
            values (%s, '', %s, 2, 0, 0, 0, 0, %s)
            """,
            (TENANT, NOON, NOON),
        )
        connection.execute(
            """
            insert into logs.windows (tenant_id, source, starts_at, lines, errors, anomalies, responses,
                response_sum_ms, closed_at)
            values (%s, '', %s, 9, 0, 0, 0, 0, %s)
            """,
            (TENANT, NOON + timedelta(minutes=1), NOON),
        )
        found = window_day(connection, day_of(DAY))
    # Three lines landed in the first minute, two are in its window; the second minute's are not landed yet.
    assert (found.windows, found.lines, found.landed, found.short_minutes) == (2, 11, 3, 1)
    assert not found.is_complete
