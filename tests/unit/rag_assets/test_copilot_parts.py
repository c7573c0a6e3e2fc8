from datetime import UTC, date, datetime, timedelta

import pytest

from rag_assets.copilot.draft import Draft
from rag_assets.copilot.extraction import best_sentences, steps
from rag_assets.copilot.questions import Question, Topic, read_question
from rag_assets.copilot.results import DocumentSource, TableSource

FLEET = {
    "CNC-A-101": {"equipment_name": "Machining centre 1", "plant_id": "plant-north"},
    "CNC-A-102": {"equipment_name": "Machining centre 2", "plant_id": "plant-north"},
    "PRS-B-201": {"equipment_name": "Press 1", "plant_id": "plant-south"},
}
NOW = datetime(2026, 11, 20, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("Which machines fail next, why, and what do I do?", Topic.FLEET_RISK),
        ("what equipment is at risk this week", Topic.FLEET_RISK),
        ("How is CNC-A-102 doing?", Topic.MACHINE),
        ("How many errors were raised in the last 7 days?", Topic.EVENTS),
        ("How do I replace a spindle bearing?", Topic.HOW_TO),
        ("which machines raise E102 when the bearing fails", Topic.HOW_TO),
    ],
)
def test_each_question_goes_to_the_tools_that_can_tell(text: str, topic: Topic) -> None:
    """Forbids that a question about the fleet is answered from a manual, or the other way round."""
    assert read_question(Question(text, "plant"), FLEET).topic is topic


def test_machines_are_those_of_the_tenant() -> None:
    """Forbids guessing: an unknown machine is named as unknown, and a model is no machine."""
    reading = read_question(Question("compare cnc-a-102 with CNC-A-999 on the HX-500", "plant"), FLEET)

    assert reading.equipment_ids == ("CNC-A-102",)
    assert reading.unknown_machines == ("CNC-A-999",)
    assert reading.codes == ("HX-500",)


def test_window_and_horizon_are_read() -> None:
    """Forbids that 'last 2 weeks' is answered with another window than the one asked for."""
    weeks = read_question(Question("errors in the last 2 weeks", "plant"), FLEET, now_at=NOW).period
    assert (weeks.starts_at, weeks.ends_at) == (NOW - timedelta(days=14), NOW)
    assert (
        read_question(Question("which machines fail in the next 7 days", "plant"), FLEET).horizon_hours == 168
    )
    assert read_question(Question("which machines fail next", "plant"), FLEET).horizon_hours == 24


MARKDOWN = """# E1

## Meaning

The pump lost pressure below the limit of 40 bar. It says nothing about the oil itself.

## Diagnosis

1. Look at the gauge.

## Mitigation

1. Stop the press:

   ```bash
   press stop
   ```
2. Top up the oil
   to the mark.

## Escalation

Call the hydraulics team about the pump pressure.
"""


def test_steps_are_the_actions_word_for_word() -> None:
    """Forbids that checks, code or escalation are handed out as what to do."""
    assert [step.text for step in steps(MARKDOWN)] == ["Stop the press:", "Top up the oil to the mark."]
    assert {step.section for step in steps(MARKDOWN)} == {"Mitigation"}
    assert [step.text for step in steps("## Diagnosis\n\n- Look at it.\n")] == ["Look at it."]


def test_the_sentence_that_answers_is_quoted() -> None:
    """Forbids quoting whom to call when the question is what it means."""
    quotes = best_sentences(MARKDOWN, ["pump", "pressur"], lambda _: 1.0, limit=1)

    assert [quote.text for quote in quotes] == ["The pump lost pressure below the limit of 40 bar."]
    assert quotes[0].section == "Meaning"


ROWS = TableSource(
    "marts.x",
    datetime(2026, 1, 1, tzinfo=UTC),
    ({"equipment_id": "CNC-A-101", "probability": 0.7312, "hours": 24},),
)
PASSAGE = DocumentSource(
    "seal",
    "2",
    "Seal",
    "seal.md",
    "Steps",
    "Drain  the\npump. Wait 5 minutes.",
    "c1",
    "h1",
    date(2026, 1, 1),
    None,
)


def test_numbers_that_no_cited_row_has_are_flagged() -> None:
    """Forbids an answer whose figures do not come from its sources."""
    draft = Draft(date(2026, 1, 11), "plant & co")
    draft.say("CNC-A-101 fails within 24 h with probability 0.73.", [ROWS])
    draft.say("CNC-A-101 fails within 48 h.", [ROWS])
    draft.say("It ran 0.73 hours.", [])
    draft.say("Drain the pump.", [PASSAGE], is_quote=True)
    draft.say("Drain the tank.", [PASSAGE], is_quote=True)

    assert draft.ungrounded() == ("CNC-A-101 fails within 48 h.", "It ran 0.73 hours.", "Drain the tank.")


def test_a_source_is_numbered_once_and_has_an_age() -> None:
    """Forbids two numbers for one source, and citations that hide how old they are."""
    draft = Draft(date(2026, 1, 11), "plant & co")
    draft.say("One.", [ROWS])
    draft.say("Two.", [PASSAGE])
    draft.advise("Three.", [PASSAGE])

    assert [(item.number, item.kind, item.age_days) for item in draft.citations] == [
        (1, "table", None),
        (2, "document", 10),
    ]
    assert draft.steps[0].cited == "Three. [2]"
    assert draft.citations[1].link == "/v1/documents?tenant_id=plant+%26+co&document_id=seal&version=2"
