"""Where documents come from, besides a folder: object storage, Git, a Kafka topic, the marts."""
