"""How fast the plant is simulated and its frames become datums, beside writing record by record.

`make bench ONLY=simulator`. One process, no broker.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from statistics import median

from orchestration.figures import Figure, report
from orchestration.ingest.avro_frames import encode_frame
from orchestration.ingest.contracts import latest_schema
from orchestration.ingest.contracts.avro_writer import compile_writer
from orchestration.ingest.simulators.clock import PLANT_START
from orchestration.ingest.simulators.plant import SENSORS, PlantSimulator

COMMAND = "make bench ONLY=simulator"
DAYS, ROUNDS = 120, 3


def seconds(work: Callable[[], object]) -> float:
    """Median seconds of a few rounds."""
    spent: list[float] = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begun)
    return median(spent)


def main() -> None:
    """Measure and report."""
    end = PLANT_START + timedelta(days=DAYS)
    generated = seconds(lambda: PlantSimulator().window(PLANT_START, end))
    frame = PlantSimulator().window(PLANT_START, end).frames[SENSORS].drop("known_at").head(100_000)
    schema = latest_schema(SENSORS).schema
    write = compile_writer(schema)
    by_column = seconds(lambda: encode_frame(schema, frame))
    by_record = seconds(lambda: [write(record) for record in frame.iter_rows(named=True)])
    figures = [
        Figure("simulate_120_days", generated, "s", "lower", bar=3.0, command=COMMAND),
        Figure(
            "encode_frame_rate", frame.height / by_column, "records/s", "higher",
            peer="record by record", peer_value=frame.height / by_record, command=COMMAND,
        ),
    ]  # fmt: skip
    report("simulator", figures)


if __name__ == "__main__":
    main()
