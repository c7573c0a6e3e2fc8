"""Whether an answer is right: by comparison only, no judge that could wobble.

Avoid scenarios here.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict

from rag_assets.copilot.copilot import Diagnosis
from rag_assets.copilot.results import as_text
from tests.evals.copilot.scenarios import Scenario

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
_MARKED = re.compile(r"(.+?) ((?:\[\d+\])+)(?=\s|$)", re.DOTALL)


def problems(scenario: Scenario, diagnosis: Diagnosis) -> list[str]:
    """What is wrong with an answer; empty if nothing is."""
    said = " ".join((diagnosis.answer, *diagnosis.next_steps))
    shown = _everything(diagnosis)
    cited = {f"{item['document_id']}@{item['version']}" for item in diagnosis.citations}
    tables = {item["table"] for item in diagnosis.citations}
    found = {token.rstrip(".") for token in _NUMBER.findall(diagnosis.answer)}
    wrong = [f"status is {diagnosis.status}"] if diagnosis.status != scenario.status else []
    wrong += [f"lacks {text!r}" for text in scenario.contains if text not in said]
    wrong += [f"shows {text!r}" for text in scenario.absent if text in shown]
    wrong += [f"says {text!r}" for text in scenario.unsaid if text in said]
    wrong += [f"does not cite {key}" for key in scenario.documents if key not in cited]
    wrong += [f"does not cite {table}" for table in scenario.tables if table not in tables]
    wrong += [f"lacks the number {as_text(n)}" for n in scenario.numbers if as_text(n) not in found]
    return [*wrong, *ungrounded_numbers(diagnosis), *(f"flagged: {text}" for text in diagnosis.ungrounded)]


def ungrounded_numbers(diagnosis: Diagnosis) -> Iterable[str]:
    """Numbers that stand in no row and no passage that their own sentence cites."""
    for sentence, marks in _MARKED.findall(diagnosis.answer):
        numbers = {int(number) for number in re.findall(r"\d+", marks)}
        values: set[str] = set()
        for citation in diagnosis.citations:
            if citation["number"] in numbers:
                values |= set(re.findall(r"\d+(?:\.\d+)?", _values(citation)))
        for number in re.findall(r"\d+(?:\.\d+)?", sentence):
            if number not in values:
                yield f"number {number} is in nothing that {sentence[:60]!r} cites"


def _values(citation: dict) -> str:
    """The cited rows with each value rounded as answers round, or the passage."""
    if citation["kind"] == "document":
        return citation["snippet"]
    return " ".join(as_text(value) for row in citation["rows"] for value in row.values())


def _everything(diagnosis: Diagnosis) -> str:
    """All that the asker gets to see; what he asked himself is left out."""
    shown = asdict(diagnosis)
    shown["evidence"] = [{**item, "parameters": None, "query": None} for item in diagnosis.evidence]
    shown.pop("latency_ms")
    return json.dumps(shown, default=str, ensure_ascii=False)
