"""The texts of lines: what healthy services write at each level, and what each anomaly writes step by step.

Healthy services write warnings and errors too, a failed login or a slow query among them: an anomaly differs
by its number and course, not by words that nothing else has. Add a text here. Avoid choosing: `lines` does.
"""

from orchestration.ingest.simulators.logs.config import AnomalyType

HEALTHY: dict[str, tuple[str, ...]] = {
    "INFO": (
        "request {id} completed with status 200 in {ms} ms",
        "user {user} opened order {n}",
        "cache refreshed, {n} entries",
        "batch {n} written to storage",
        "health check passed",
        "message {id} acknowledged by consumer {n}",
    ),
    "DEBUG": (
        "query plan for statement {n} reused",
        "connection {n} returned to pool",
        "token of user {user} verified",
    ),
    "WARNING": (
        "response slower than usual: {ms} ms for request {id}",
        "retry 1 of 3 for request {id}",
        "memory usage at {low} percent",
        "login failed for user {user} from {ip}",
        "field remark is empty in record {n}",
    ),
    "ERROR": (
        "request {id} failed: upstream returned 502",
        "could not parse record {n}: unexpected end of input",
        "query timed out after 3000 ms, request {id}",
        "connection to {ip} refused, will retry",
    ),
    "CRITICAL": (
        "worker {n} restarted after fatal signal",
        "lost leadership of shard {n}, taking over again",
    ),
}

Step = tuple[str, str]
"""Level and text."""

ANOMALOUS: dict[AnomalyType, tuple[tuple[Step, ...], ...]] = {
    AnomalyType.ERROR_SPIKE: (
        (("WARNING", "unexpected state in handler {n}, request {id}"),),
        (("ERROR", "unhandled exception in handler {n}: NullReferenceException, request {id}"),
         ("ERROR", "request {id} failed: internal error 500")),
        (("CRITICAL", "error rate above limit, circuit breaker opened for handler {n}"),),
    ),
    AnomalyType.LATENCY_DEGRADATION: (
        (("WARNING", "response slower than usual: {ms} ms for request {id}"),),
        (("WARNING", "service degraded: request {id} took {ms} ms"),),
        (("ERROR", "request {id} timed out after {ms} ms"),),
    ),
    AnomalyType.SECURITY_THREAT: (
        (("WARNING", "login failed for user {user} from {ip}"),
         ("ERROR", "account {user} locked after 5 failed logins from {ip}")),
        (("ERROR", "blocked SQL injection in parameter id: ' OR '1'='1' -- from {ip}"),
         ("ERROR", "blocked SQL injection: UNION SELECT password FROM users from {ip}")),
        (("ERROR", "blocked XSS payload <script>document.cookie</script> from {ip}"),
         ("WARNING", "suspicious markup <img onerror=alert({n})> in comment from {ip}")),
    ),
    AnomalyType.RESOURCE_EXHAUSTION: (
        (("WARNING", "{resource} usage at 70 percent"),),
        (("WARNING", "{resource} usage at 80 percent, above soft limit"),),
        (("ERROR", "{resource} usage at 90 percent, requests are being shed"),),
        (("CRITICAL", "{resource} exhausted: 99 percent used"),),
    ),
    AnomalyType.SERVICE_OUTAGE: (
        (("ERROR", "request {id} failed: upstream returned 503 service unavailable"),),
        (("ERROR", "connection to {ip} failed: connection refused"),
         ("CRITICAL", "service unavailable: no healthy instance left")),
    ),
    AnomalyType.DATA_ANOMALY: (
        (("WARNING", "null value in required field quantity of record {n}"),
         ("ERROR", "invalid format in field timestamp of record {n}: expected ISO 8601")),
    ),
}  # fmt: skip
"""Steps of each type in order; a security threat is one of its three steps from begin to end."""
RESOURCES = ("memory", "CPU", "disk")
USERS = ("admin", "operator1", "service-bot", "jlee", "mkraft", "root")
