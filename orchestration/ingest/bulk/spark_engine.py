"""The bulk jobs and a streaming landing in Spark: run by Spark's own Python, with one JSON argument.

Spark and its 300 MB stand apart from the project's environment (`deployment/bootstrap peers`), so this
module imports nothing but pyspark and the plan. Add a job here and in `polars_engine` at once. Avoid
finding Spark: `spark_process` does.
"""

# pyright: basic, reportMissingImports=false

import json
import sys
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f
from pyspark.sql.avro.functions import from_avro

from orchestration.ingest.bulk.plan import DEVIATION_OF_MAD, OUTPUTS, BulkPlan

CATALOG = "opsgraph"  # the name under which pyiceberg enters its tables too
_ORDER = ("known_at", "kafka_partition", "kafka_offset")


def main() -> None:
    """Do what the JSON argument asks; the last line printed is JSON: rows by table."""
    asked = json.loads(sys.argv[1])
    builder = SparkSession.builder
    for name, value in asked["settings"].items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        counts = stream(spark, asked) if asked["job"] == "stream" else bulk(spark, asked)
    finally:
        spark.stop()
    print(json.dumps(counts))  # noqa: T201


def bulk(spark: SparkSession, asked: dict[str, Any]) -> dict[str, int]:
    """Write every output of a plan over `bronze.<table>` to `silver`; rows by table."""
    plan = BulkPlan.from_json(asked["plan"])
    cleansed = cleanse(spark.table(f"{CATALOG}.bronze.{plan.table}"), plan)
    spark.sql(f"create namespace if not exists {CATALOG}.silver")
    _replace(cleansed, f"{plan.table}_cleansed")
    kept = spark.table(f"{CATALOG}.silver.{plan.table}_cleansed")
    _replace(features(kept, plan), f"{plan.table}_features")
    _replace(aggregates(kept, plan, "day", "day_at"), f"{plan.table}_daily")
    _replace(aggregates(kept, plan, "week", "week_at"), f"{plan.table}_weekly")
    names = [f"{plan.table}_{output}" for output in OUTPUTS]
    return {name: spark.table(f"{CATALOG}.silver.{name}").count() for name in names}


def cleanse(rows: DataFrame, plan: BulkPlan) -> DataFrame:
    """As `polars_engine.cleanse`."""
    first = Window.partitionBy(*plan.keys, plan.event_time).orderBy(*_ORDER)
    frame = (
        rows.select(*plan.keys, plan.event_time, *plan.metrics, *_ORDER)
        .withColumn("__place", f.row_number().over(first))
        .where("__place = 1")
    )
    machine = Window.partitionBy(*plan.keys)
    for name in plan.metrics:
        value = f.col(name)
        is_finite = ~f.isnan(value) & (f.abs(value) != f.lit(float("inf")))
        frame = frame.withColumn(name, f.when(is_finite, value))
        median = f.percentile(name, f.lit(0.5)).over(machine)
        frame = frame.withColumn(f"__{name}_far", f.abs(f.col(name) - median))
        limit = plan.outlier_deviations * DEVIATION_OF_MAD
        mad = f.percentile(f"__{name}_far", f.lit(0.5)).over(machine)
        is_outlying = (mad > 0) & (f.col(f"__{name}_far") > mad * limit)
        frame = frame.withColumn(f"__{name}", f.coalesce(is_outlying, f.lit(False)))
        frame = frame.withColumn(name, f.when(~f.col(f"__{name}"), f.col(name)))
    dropped = sum((f.col(f"__{name}").cast("int") for name in plan.metrics), start=f.lit(0))
    has_value = f.coalesce(*(f.col(name) for name in plan.metrics)).isNotNull()
    return (
        frame.withColumn("dropped_values", dropped)
        .where(has_value)
        .select(*plan.keys, plan.event_time, *plan.metrics, "dropped_values", "known_at")
    )


def features(cleansed: DataFrame, plan: BulkPlan) -> DataFrame:
    """As `polars_engine.features`."""
    before = f.col(plan.event_time) - f.expr("interval 1 microsecond")
    hour_at = f.date_trunc("hour", before) + f.expr("interval 1 hour")
    hours = (
        cleansed.withColumn("hour_at", hour_at)
        .groupBy(*plan.keys, "hour_at")
        .agg(*(f.avg(name).alias(f"{name}_mean") for name in plan.metrics))
        .withColumn("__hour", f.unix_timestamp("hour_at") / 3600)
    )
    for name in plan.metrics:
        for hours_long in plan.windows_h:
            window = Window.partitionBy(*plan.keys).orderBy("__hour").rangeBetween(-(hours_long - 1), 0)
            mean = f.col(f"{name}_mean")
            hours = hours.withColumn(f"{name}_mean_{hours_long}h", f.avg(mean).over(window))
            hours = hours.withColumn(f"{name}_std_{hours_long}h", f.stddev_samp(mean).over(window))
    weekday = f.weekday("hour_at") + 1  # Spark's Monday is 0, ISO's is 1
    return (
        hours.drop("__hour")
        .withColumn("hour_of_day", f.hour("hour_at"))
        .withColumn("day_of_week", weekday)
        .withColumn("month", f.month("hour_at"))
        .withColumn("is_weekend", weekday > 5)
    )


def aggregates(cleansed: DataFrame, plan: BulkPlan, every: str, name: str) -> DataFrame:
    """As `polars_engine.aggregates`."""
    statistics: list[Column] = []
    for metric in plan.metrics:
        statistics += [
            f.avg(metric).alias(f"{metric}_mean"),
            f.stddev_samp(metric).alias(f"{metric}_std"),
            f.min(metric).alias(f"{metric}_min"),
            f.max(metric).alias(f"{metric}_max"),
        ]
    return (
        cleansed.withColumn(name, f.date_trunc(every, plan.event_time))
        .groupBy(*plan.keys, name)
        .agg(f.count("*").alias("reading_count"), *statistics)
    )


def stream(spark: SparkSession, asked: dict[str, Any]) -> dict[str, int]:
    """Land what waits in a topic into `streamed.<table>`: Structured Streaming, exactly once by checkpoint.

    A message that can't be decoded, or that breaks a rule of the contract under which it is refused,
    keeps its bytes in `payload` and its reason in `refused`; its fields are null.
    """
    table = f"{CATALOG}.streamed.{asked['table']}"
    spark.sql(f"create namespace if not exists {CATALOG}.streamed")
    messages = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", asked["bootstrap_servers"])
        .option("subscribe", asked["topic"])
        .option("startingOffsets", "earliest")
        .load()
        .where("value is not null")  # a tombstone is a position, not a row
    )
    query = (
        judged(decoded(messages, asked), asked)
        .writeStream.format("iceberg")
        .option("checkpointLocation", asked["checkpoint"])
        .trigger(availableNow=True)
        .toTable(table)
    )
    query.awaitTermination()
    rows = spark.table(table)
    refused = rows.where("refused is not null").count()
    return {asked["table"]: rows.count() - refused, "refused": refused}


def decoded(messages: DataFrame, asked: dict[str, Any]) -> DataFrame:
    """The contract's fields of each message, whichever schema wrote it, and `refused` where none did."""
    schema_id = f.conv(f.hex(f.substring("value", 2, 4)), 16, 10).cast("int")
    is_framed = f.hex(f.substring("value", 1, 1)) == "00"
    row: Column = f.lit(None)
    for number, schema in asked["schemas"].items():
        known = {field["name"] for field in schema["fields"]}
        record = from_avro(f.expr("substring(value, 6)"), json.dumps(schema), {"mode": "PERMISSIVE"})
        columns = [
            (record[name] if name in known else f.lit(None)).cast(kind).alias(name)
            for name, kind in asked["fields"].items()
        ]
        is_this = is_framed & (schema_id == int(number)) & record.isNotNull()
        row = f.when(is_this, f.struct(*columns)).otherwise(row)
    read = messages.withColumn("row", row)
    return read.select(
        *(f.col("row")[name].alias(name) for name in asked["fields"]),
        f.when(f.col("row").isNull(), f.lit("Undecodable")).alias("refused"),
        f.col("partition").alias("kafka_partition"),
        f.col("offset").alias("kafka_offset"),
        "timestamp",
        f.col("value").alias("payload"),
    )


def judged(rows: DataFrame, asked: dict[str, Any]) -> DataFrame:
    """Rows after the contract's rules: values dropped, or the whole row refused with its first reason."""
    for rule in asked["rules"]:
        column = f.col(rule["field"])
        is_broken = f.coalesce(_BROKEN[rule["kind"]](column, rule["value"]), f.lit(False))
        if rule["drops_value"]:
            rows = rows.withColumn(rule["field"], f.when(~is_broken, column))
        else:
            reason = f.lit(f"{rule['field']}: {rule['kind']}")
            rows = rows.withColumn("refused", f.coalesce("refused", f.when(is_broken, reason)))
    is_refused = f.col("refused").isNotNull()
    kept = [f.when(~is_refused, f.col(name)).alias(name) for name in asked["fields"]]
    return rows.select(
        *kept,
        "kafka_partition",
        "kafka_offset",
        "refused",
        f.when(is_refused, f.col("payload")).alias("payload"),
    )


_BROKEN = {
    "required": lambda column, _: column.isNull(),
    "enum": lambda column, values: ~column.isin(values),
    "finite": lambda column, _: f.isnan(column) | (f.abs(column) == float("inf")),
    "minimum": lambda column, least: column < least,
    "maximum": lambda column, most: column > most,
    "after": lambda column, instant: column < f.lit(instant).cast("timestamp"),
    "before": lambda column, instant: column > f.lit(instant).cast("timestamp"),
    "future": lambda column, days: column > f.col("timestamp") + f.make_interval(days=f.lit(days)),
}


def _replace(rows: DataFrame, name: str) -> None:
    rows.writeTo(f"{CATALOG}.silver.{name}").using("iceberg").createOrReplace()


if __name__ == "__main__":
    main()
