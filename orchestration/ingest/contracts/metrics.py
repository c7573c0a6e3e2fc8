"""The list of measured signals for `ml`, which must not import the contracts.

Add an attribute here when features or drift need to know it. Avoid field roles other than metric.
"""

import json
from collections.abc import Mapping

from orchestration.ingest.contracts.model import TopicContract


def metrics_text(contracts: Mapping[str, TopicContract]) -> str:
    """JSON list of `{name, unit, minimum, maximum, description, topic}`, in the contracts' order."""
    metrics = [
        {
            "name": field.name,
            "unit": field.unit,
            "minimum": field.minimum,
            "maximum": field.maximum,
            "description": field.description,
            "topic": contract.topic,
        }
        for contract in contracts.values()
        for field in contract.metrics
    ]
    return json.dumps(metrics, indent=2, ensure_ascii=False) + "\n"
