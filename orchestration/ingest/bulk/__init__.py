"""Bulk jobs over the lake, on one of two engines: Polars in this process, or Spark.

Both read `bronze.<table>` and write `silver.<table>_*` with equal rows, which a test holds them to. Add a
job to both engines at once. Avoid landing here: `orchestration.ingest.landing` feeds `bronze`.
"""
