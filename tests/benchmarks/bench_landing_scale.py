"""Whether landing costs the same per message whatever waits, and what a message takes in each store.

`make bench ONLY=landing_scale`: 1, 10 and 30 million messages, each waiting as a whole before one process
lands them; about six minutes. OPSGRAPH_BENCH_SCALES names other numbers, for example `1000000,10000000`.
"""

import os
import resource
from pathlib import Path

import psutil
import psycopg

from orchestration.figures import Figure, report
from orchestration.ingest.landing import land_topic
from orchestration.ingest.services import LandingServices
from tests.benchmarks.bench_landing import rate
from tests.benchmarks.landing_stack import SENSORS, produce, stack

COMMAND = "make bench ONLY=landing_scale"
SCALES = [int(n) for n in os.environ.get("OPSGRAPH_BENCH_SCALES", "1000000,10000000,30000000").split(",")]
WARM_UP = 20_000


def main() -> None:
    """Measure and report."""
    figures: list[Figure] = []
    with stack() as services:
        produce(services, SENSORS, WARM_UP)
        land_topic(SENSORS, services)
        for count in SCALES:
            produce(services, SENSORS, count)
            stolen = psutil.cpu_times().steal
            landed = land_topic(SENSORS, services, run_id="bench")
            assert landed.counts.landed == count, landed.counts
            name = f"landing_rate_{count // 1_000_000}m"
            figures.append(Figure(name, rate(landed, count), "msg/s", "higher", command=COMMAND))
            stolen = psutil.cpu_times().steal - stolen
            figures.append(Figure(f"{name}_stolen", stolen, "s", "lower", command=COMMAND))
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sizes = _bytes_per_message(services, WARM_UP + sum(SCALES))
    rates = [figure.value for figure in figures if figure.unit == "msg/s"]
    spread = max(rates) / min(rates) - 1
    figures += [
        Figure("landing_rate_spread", spread, "share", "lower", bar=0.25, command=COMMAND),
        Figure("lander_peak_mib", peak_mib, "MiB", "lower", bar=1_024, command=COMMAND),
        *(Figure(f"bytes_per_message_{k}", v, "bytes", "lower", command=COMMAND) for k, v in sizes.items()),
    ]
    report("landing_scale", figures)


def _bytes_per_message(services: LandingServices, count: int) -> dict[str, float]:
    """Log of the broker, table with its indexes, and files of the lake."""
    lake = Path(services.lake_url)
    with psycopg.connect(services.database_url) as connection:
        row = connection.execute(
            "select sum(pg_total_relation_size(relid)) from pg_partition_tree('raw.equipment_sensors')"
        ).fetchone()
    assert row is not None
    sizes = {
        "kafka": sum(path.stat().st_size for path in (lake.parent / "kafka").rglob("*.log")),
        "postgres": int(row[0]),
        "lake": sum(path.stat().st_size for path in lake.rglob("*.parquet")),
    }
    return {name: size / count for name, size in sizes.items()}


if __name__ == "__main__":
    main()
