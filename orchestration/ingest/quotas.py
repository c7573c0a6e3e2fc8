"""Quotas of tenants: whose messages wait, and how long.

A tenant that lands more than its quota gets a debt. Until the debt is paid off, the landing service leaves
the partitions alone that its messages came from: they wait in Kafka, in their order, and nothing is skipped
or refused. Other tenants' messages in the same partitions wait with them; partitions of a tenant's own keep
tenants apart. `opsgraph land` without `--follow` takes no notice: a person asked for everything now. Add a
kind of limit of a tenant here. Avoid reading messages.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from orchestration.ingest.batch import Batch
from orchestration.ingest.offsets import PartitionId

REFRESH_S = 5.0


def quotas(connection: psycopg.Connection[Any]) -> dict[str, float]:
    """Messages per second by tenant; tenants without a quota are left out."""
    rows = connection.execute("select tenant_id, messages_per_s from ops.tenant_quotas order by 1")
    return {str(tenant): float(rate) for tenant, rate in rows}


def set_quota(connection: psycopg.Connection[Any], tenant_id: str, rate: float | None, set_by: str) -> None:
    """Give a tenant a quota in messages per second, or none."""
    if rate is None:
        connection.execute("delete from ops.tenant_quotas where tenant_id = %s", (tenant_id,))
        return
    connection.execute(
        """
        insert into ops.tenant_quotas (tenant_id, messages_per_s, set_by) values (%s, %s, %s)
        on conflict (tenant_id) do update
        set messages_per_s = excluded.messages_per_s, set_by = excluded.set_by, set_at = now()
        """,
        (tenant_id, rate, set_by),
    )


class Debts:
    """What tenants have landed beyond their quotas, and which partitions wait for that."""

    def __init__(
        self, rates: Callable[[], Mapping[str, float]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin without debts.

        Args:
            rates: Quotas by tenant; asked every few seconds.
            clock: Seconds on a clock that never goes back.
        """
        self._ask, self._clock, self._lock = rates, clock, threading.Lock()
        self._rates: Mapping[str, float] = {}
        self._asked_at = float("-inf")
        self._paid_at: dict[str, float] = {}
        self._partitions: dict[str, set[PartitionId]] = {}

    def add(self, batches: Sequence[Batch]) -> None:
        """Take note of committed batches."""
        if not self._rates:
            return
        now = self._clock()
        for batch in batches:
            if not batch.rows.num_rows:
                continue
            counts = batch.rows.column("tenant_id").value_counts().to_pylist()
            with self._lock:
                for count in counts:
                    tenant, rate = count["values"], self._rates.get(count["values"])
                    if rate is not None:
                        # A second's worth may come at once: batches are no even stream.
                        begin = max(self._paid_at.get(tenant, now - 1.0), now - 1.0)
                        self._paid_at[tenant] = begin + count["counts"] / rate
                        self._partitions.setdefault(tenant, set()).add(batch.partition)

    def waiting(self) -> frozenset[PartitionId]:
        """Partitions that are to be left alone now."""
        now = self._clock()
        if now - self._asked_at >= REFRESH_S:
            self._asked_at, self._rates = now, self._ask()
        with self._lock:
            owing = {
                tenant for tenant, paid_at in self._paid_at.items() if paid_at > now and tenant in self._rates
            }
            for tenant in set(self._partitions) - owing:
                del self._partitions[tenant]
            return frozenset(item for tenant in owing for item in self._partitions.get(tenant, ()))
