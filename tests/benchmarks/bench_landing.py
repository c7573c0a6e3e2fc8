"""How fast Kafka's messages reach Postgres and the lake, beside what people use instead.

`make bench ONLY=landing`. Broker and Postgres share the machine's two cores with the lander; fsync and
synchronous commit are on; contract rules, ledger and both sinks are at work. Rates are taken from the
assignment of the partitions to the last commit; all that landing does before and after stands beside
them. OPSGRAPH_BENCH_MESSAGES makes a run longer or shorter than two million messages.
"""

import multiprocessing
import os
import resource
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from orchestration.figures import Figure, report
from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.landing import land_topic
from orchestration.ingest.landing_report import LandingReport
from orchestration.ingest.landing_service import FRESH, LOW_LATENCY
from orchestration.ingest.ledger import Counts
from orchestration.ingest.ledger_check import check_ledger
from orchestration.ingest.services import LandingServices
from tests.benchmarks.landing_freshness import freshness_ms
from tests.benchmarks.landing_peers import dlt_rates, missing_peers, poll_loop_rate, spark_rates
from tests.benchmarks.landing_stack import LOGS, SENSORS, Share, produce, stack

COMMAND = "make bench ONLY=landing"
MESSAGES = int(os.environ.get("OPSGRAPH_BENCH_MESSAGES", "2000000"))
WARM_UP, ROUNDS, LINES, PEER_MESSAGES = 20_000, 2, MESSAGES // 4, 100_000
FRESHNESS_S = 8.0
BARS = {
    "landing_rate_one_process": 450_000, "landing_rate_two_processes": 600_000, "landing_rate_json": 150_000,
    "ratio_spark_warm": 3, "ratio_spark_first": 6, "ratio_dlt_dicts": 25, "ratio_dlt_arrow": 8,
    "ratio_poll_loop": 7, "freshness_p95_ms": 300, "freshness_low_latency_p95_ms": 100,
    "lander_peak_mib": 1_024,
}  # fmt: skip


@dataclass(frozen=True)
class Rounds:
    """Landings of equally many messages.

    Attributes:
        rates: Messages per second from assignment to last commit, per round.
        whole: The same from the first look at the broker to the last commit of the lake.
        niced: Share of the machine that went to other work, per round.
    """

    rates: list[float]
    whole: list[float]
    niced: list[float]

    @property
    def rate(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.rates)


def rate(landed: LandingReport, count: int) -> float:
    """Messages per second while rows were loaded."""
    begin, end = landed.loading
    return count / (end - begin)


def land_in_one_process(services: LandingServices, topic: str, count: int, rounds: int) -> Rounds:
    """Produce and land, round by round."""
    rates: list[float] = []
    whole: list[float] = []
    niced: list[float] = []
    for _ in range(rounds):
        produce(services, topic, count)
        share = Share()
        landed = land_topic(topic, services, run_id="bench")
        assert landed.counts == Counts(landed=count), landed.counts
        rates.append(rate(landed, count))
        whole.append(count / landed.seconds)
        niced.append(share.niced())
    return Rounds(rates, whole, niced)


def _land_partitions(services: LandingServices, own: set[int], ready: Any, results: Any) -> None:
    import pyiceberg.catalog.sql  # noqa: F401 - takes seconds, once per process

    ready.wait()
    results.put(land_topic(SENSORS, services, run_id="bench", partitions=own))


def land_in_two_processes(services: LandingServices, count: int) -> float:
    """Messages per second of two landers with two partitions each, from the first begin to the last end."""
    produce(services, SENSORS, count)
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(3), context.Queue()
    landers = [
        context.Process(target=_land_partitions, args=(services, own, ready, results))
        for own in ({0, 1}, {2, 3})
    ]
    for lander in landers:
        lander.start()
    ready.wait()  # both have started Python and read their imports: the clock is about landing
    reports: list[LandingReport] = [results.get(timeout=300) for _ in landers]
    for lander in landers:
        lander.join()
    assert sum((item.counts for item in reports), Counts()) == Counts(landed=count)
    begin, end = min(r.loading[0] for r in reports), max(r.loading[1] for r in reports)
    return count / (end - begin)


def main() -> None:
    """Measure and report."""
    with stack() as services:
        idle = psutil.cpu_times_percent(interval=2.0).idle / 100
        produce(services, SENSORS, WARM_UP)
        land_topic(SENSORS, services)
        one = land_in_one_process(services, SENSORS, MESSAGES, ROUNDS)
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        peers = _peers(services, WARM_UP + ROUNDS * MESSAGES)
        two = [land_in_two_processes(services, MESSAGES) for _ in range(ROUNDS)]
        json_lines = land_in_one_process(services, LOGS, LINES, 1)
        fresh = freshness_ms(services, FRESH, FRESHNESS_S)
        low_latency = freshness_ms(services, LOW_LATENCY, FRESHNESS_S)
        land_topic(SENSORS, services)
        balance = check_ledger(services, load_contracts(), [SENSORS, LOGS])
        assert balance.is_balanced, balance.faults
    best = max(one.rate, statistics.median(two))
    values = {
        "landing_rate_one_process": one.rate,
        "landing_rate_one_process_whole": statistics.median(one.whole),
        "landing_rate_two_processes": statistics.median(two),
        "landing_rate_json": json_lines.rate,
        **{f"ratio_{name}": best / value for name, value in peers.items()},
        "freshness_p95_ms": float(np.percentile(fresh, 95)),
        "freshness_p50_ms": float(np.percentile(fresh, 50)),
        "freshness_low_latency_p95_ms": float(np.percentile(low_latency, 95)),
        "lander_peak_mib": peak_mib,
        "idle_share": idle,
        "niced_share": statistics.median(one.niced),
    }
    report("landing", [_figure(name, value, peers, best) for name, value in values.items()])


def _peers(services: LandingServices, count: int) -> dict[str, float]:
    """Messages per second of each peer over the messages that were just landed."""
    rates = {"poll_loop": poll_loop_rate(services, PEER_MESSAGES)}
    if reason := missing_peers():
        print(f"Spark and dlt are left out: {reason}")
        return rates
    with tempfile.TemporaryDirectory() as folder:
        spark = spark_rates(services, count, Path(folder) / "spark")
        dlt = dlt_rates(services, PEER_MESSAGES, Path(folder) / "dlt")
    return {
        **rates,
        "spark_warm": spark["warm"],
        "spark_first": spark["first"],
        "dlt_dicts": dlt["dicts"],
        "dlt_arrow": dlt["arrow"],
    }


def _figure(name: str, value: float, peers: dict[str, float], best: float) -> Figure:
    if name.startswith("ratio_"):
        peer = name.removeprefix("ratio_")
        unit = f"ratio of {best:,.0f} to {peers[peer]:,.0f} msg/s"
        return Figure(name, value, unit, "higher", bar=BARS.get(name), peer=peer, command=COMMAND)
    if name.startswith("landing_rate"):
        return Figure(name, value, "msg/s", "higher", bar=BARS.get(name), command=COMMAND)
    unit = {"ms": "ms", "mib": "MiB", "share": "share"}[name.rsplit("_", 1)[1]]
    better = "higher" if name == "idle_share" else "lower"
    return Figure(name, value, unit, better, bar=BARS.get(name), command=COMMAND)


if __name__ == "__main__":
    main()
