"""From Kafka offsets to the lake and Postgres; plain Python, no Dagster."""
