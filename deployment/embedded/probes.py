"""Readiness probes over TCP, HTTP and SQL that several services share.

Add a probe here when two services answer the same protocol. Avoid queries of one service.
Plain `http.client` on purpose: probes run many times while two cores are busy starting servers, and
a client that loads the system's certificates costs 30 ms of a core each time.
"""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg


@dataclass(frozen=True)
class Reply:
    """Status and body of an HTTP response."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is one of the 200s."""
        return 200 <= self.status < 300

    def json(self) -> dict[str, Any] | None:
        """The body as a JSON object, or None when it is something else."""
        try:
            content = json.loads(self.body)
        except ValueError:
            return None
        return content if isinstance(content, dict) else None


def request(url: str, body: dict[str, Any] | None = None, timeout_s: float = 2.0) -> Reply | None:
    """The reply to a GET, or to a POST of a JSON body; None when nothing answers in time."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return Reply(response.status, response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def post_json(url: str, body: dict[str, Any], timeout_s: float = 2.0) -> dict[str, Any] | None:
    """The JSON object that a POST answers, or None when there is no good answer in time."""
    reply = request(url, body, timeout_s)
    return reply.json() if reply and reply.is_success else None


def listens(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Whether something accepts connections there: a cheap question before a dear one."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError:
        return False
    return True


def database_answers(url: str, timeout_s: int = 2) -> bool:
    """Whether a Postgres server runs a statement: a socket that accepts proves less."""
    try:
        with psycopg.connect(url, connect_timeout=timeout_s, autocommit=True) as connection:
            connection.execute("select 1")
    except psycopg.Error:
        return False
    return True


def has_beaten(url: str, component: str, since: float, timeout_s: int = 2) -> bool:
    """Whether a service showed a sign of life after an instant, and goes on doing so.

    Args:
        url: Database with `ops.heartbeats`.
        component: `service:…`.
        since: Seconds since the epoch; the signs of an earlier process don't count.
        timeout_s: Longest wait for a connection.
    """
    try:
        with psycopg.connect(url, connect_timeout=timeout_s, autocommit=True) as connection:
            row = connection.execute(
                "select beat_at > greatest(to_timestamp(%s), now() - 3 * interval_s * interval '1 second') "
                "from ops.heartbeats where component = %s",
                (since, component),
            ).fetchone()
    except psycopg.Error:
        return False
    return bool(row and row[0])
