"""dlt from Kafka to Postgres, as a peer of the lander (run by `landing_peers`).

A resource that consumes and yields pages, once as dicts and once as Arrow tables, with the file format
that dlt's Postgres page recommends for speed (csv, loaded by COPY). dlt keeps its own state and schema;
less than the lander does: no lake, no ledger over offsets, no dead letters.
"""

import io
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import dlt
import fastavro
import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition

PAGE, ARROW_SHARE = 10_000, 4  # dicts take a quarter of the messages: they are that much slower


def main() -> None:
    """Both ways, each into a data set of its own."""
    asked = json.loads(sys.argv[1])
    dlt.config["load.workers"] = 2
    dlt.config["extract.workers"] = 2
    dlt.config["normalize.workers"] = 2
    print(f"dlt {dlt.__version__}: postgres, loader_file_format csv, pages of {PAGE}, 2 workers per step")
    rates = {
        "dicts": _rate(asked, "dicts", asked["count"] // ARROW_SHARE),
        "arrow": _rate(asked, "arrow", asked["count"]),
    }
    print(json.dumps(rates))


def _rate(asked: dict[str, Any], form: str, count: int) -> float:
    destination = dlt.destinations.postgres(asked["database_url"].replace("postgres@", "postgres:any@"))
    pipeline = dlt.pipeline(f"peer_{form}", destination=destination, dataset_name=f"dlt_{form}")
    resource = dlt.resource(_pages(asked, form, count), name="readings", write_disposition="append")
    started = time.perf_counter()
    info = pipeline.run(resource, loader_file_format="csv")
    info.raise_on_failed_jobs()
    return count / (time.perf_counter() - started)


def _pages(asked: dict[str, Any], form: str, count: int) -> Iterator[Any]:
    parsed = fastavro.parse_schema(asked["schema"])
    consumer = Consumer({"bootstrap.servers": asked["bootstrap_servers"], "group.id": f"dlt-{form}"})
    consumer.assign([TopicPartition(asked["topic"], partition, 0) for partition in range(4)])
    done = 0
    while done < count:
        messages = [item for item in consumer.consume(min(PAGE, count - done), 1.0) if not item.error()]
        page = [fastavro.schemaless_reader(io.BytesIO(m.value()[5:]), parsed, None) for m in messages]
        done += len(page)
        if page:
            yield page if form == "dicts" else pa.Table.from_pylist(page)
    consumer.close()


if __name__ == "__main__":
    main()
