"""What of a question is answered otherwise than it was asked, in a sentence that stands in the answer.

Add a case where a tool can't look at exactly what was named. Avoid refusals (`answering.py`).
"""

from collections.abc import Collection

from rag_assets.copilot.questions import Reading, Topic
from rag_assets.copilot.results import as_text

_OF_PERIODS = {
    *(Topic.MACHINE, Topic.EVENTS, Topic.MEASURE, Topic.COMPARISON, Topic.CAUSE),
    *(Topic.CHANGES, Topic.LOGS, Topic.ANOMALIES, Topic.REPORT),
}
_OF_ALL_PLANTS = {
    *(Topic.FLEET_RISK, Topic.EVENTS, Topic.CHANGES, Topic.LOGS, Topic.ANOMALIES),
    *(Topic.SCHEDULE, Topic.SCORED, Topic.REPORT),
}
"""Their tools look at one machine or at all."""


def caveat(reading: Reading, plants: Collection[str]) -> str:
    """The sentence; empty where everything is as it was asked.

    Args:
        reading: What the question asks for.
        plants: All plants of the tenant.
    """
    sentences: list[str] = []
    period, named = reading.period, reading.names.plants
    if period.problem and reading.topic in _OF_PERIODS:
        problem = period.problem[0].upper() + period.problem[1:]
        starts_at, ends_at = as_text(period.starts_at), as_text(period.ends_at)
        sentences.append(f"{problem}; this answer is about {starts_at} to {ends_at}.")
    if named and not reading.equipment_ids and reading.topic in _OF_ALL_PLANTS and set(plants) - set(named):
        sentences.append(f"This can't be told for {', '.join(named)} alone: it is about all plants.")
    return " ".join(sentences)
