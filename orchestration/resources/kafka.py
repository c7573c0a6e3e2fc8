"""The Kafka brokers as a Dagster resource."""

import dagster as dg


class KafkaResource(dg.ConfigurableResource):
    """Bootstrap servers, `host:port,host:port`."""

    bootstrap_servers: str
