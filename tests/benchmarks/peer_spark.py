"""Spark Structured Streaming from Kafka to parquet, as a peer of the lander (run by `landing_peers`).

As Spark's Kafka integration guide and Avro guide have it: source `kafka`, `from_avro` behind the five
bytes of the wire format, sink `parquet` with a checkpoint (exactly once). Less than the lander does: no
database, no contract rules, no ledger, no dead letters (a message that can't be decoded becomes null).
"""

import json
import os
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql.avro.functions import from_avro
from pyspark.sql.functions import expr

SETTINGS = {
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.driver.memory": "3g",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.streaming.metricsEnabled": "false",
}


def main() -> None:
    """Two queries over the same messages in one session: the first one, and one when all is warm."""
    asked = json.loads(sys.argv[1])
    builder = SparkSession.builder.master("local[2]").config("spark.jars", os.environ["SPARK_JARS"])
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    print(f"spark: local[2], availableNow, parquet with a checkpoint, {SETTINGS}")
    rates = [_query(spark, asked, number) for number in range(2)]
    spark.stop()
    print(json.dumps({"first": rates[0], "warm": rates[1]}))


def _query(spark: SparkSession, asked: dict, number: int) -> float:
    messages = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", asked["bootstrap_servers"])
        .option("subscribe", asked["topic"])
        .option("startingOffsets", "earliest")
        .load()
    )
    rows = messages.select(
        from_avro(expr("substring(value, 6)"), json.dumps(asked["schema"])).alias("row"),
        "partition",
        "offset",
        "timestamp",
    ).select("row.*", "partition", "offset", "timestamp")
    folder = f"{asked['folder']}/query-{number}"
    started = time.perf_counter()
    query = (
        rows.writeStream.format("parquet")
        .option("path", f"{folder}/rows")
        .option("checkpointLocation", f"{folder}/checkpoint")
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    seconds = time.perf_counter() - started
    assert spark.read.parquet(f"{folder}/rows").count() == asked["count"]
    return asked["count"] / seconds


if __name__ == "__main__":
    main()
