"""The opsgraph database as a Dagster resource."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import psycopg


class PostgresResource(dg.ConfigurableResource):
    """Address of the opsgraph database, `postgresql://user@host:port/database`."""

    url: str

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection]:
        """A connection whose transaction commits when the block ends without an error."""
        with psycopg.connect(self.url) as connection:
            yield connection
