"""Names the kind of a finding from the words of its statement.

Kinds choose the runbook, never the score: a word that is missing here costs a name, not a detection.
"""

import re

from orchestration.ingest.signals import SignalKind

SECURITY = re.compile(
    r"fail\w* (?:login|password|authentication)|(?:login|authentication) fail|brute.?force|sql.?injection|"
    r"union\s+select|or\s+'?1'?\s*=\s*'?1|<script|xss|cross-site|unauthori[sz]ed|intrusion|blocked request",
    re.IGNORECASE,
)
RESOURCE = re.compile(
    r"\b(?:memory|cpu|disk|heap|file descriptors?|connection pool)\b"
    r".*(?:\d+ ?%|<\*>|<NUM>|usage|exhaust|full)",
    re.IGNORECASE,
)
LATENCY = re.compile(r"\bslow\b|degraded|timed? ?out|latency|took (?:\d|<)", re.IGNORECASE)


def kind_of(level: str, text: str, *, is_new: bool) -> SignalKind:
    """Kind of a statement that came up more than usual.

    Args:
        level: Level of its lines.
        text: Statement and sample lines.
        is_new: Whether it was never seen before.

    Example:
        >>> kind_of("WARNING", "Failed login for user admin", is_new=False).value
        'log_security'
    """
    if SECURITY.search(text):
        return SignalKind.LOG_SECURITY
    if RESOURCE.search(text):
        return SignalKind.RESOURCE
    if LATENCY.search(text):
        return SignalKind.LOG_LATENCY
    if level in ("ERROR", "CRITICAL"):
        return SignalKind.LOG_ERRORS
    return SignalKind.LOG_TEMPLATES if is_new else SignalKind.LOG_STATEMENTS
