"""What an answer says where it is about something else than was asked."""

import pytest

from rag_assets.copilot.caveats import caveat
from rag_assets.copilot.questions import Question, read_question
from rag_assets.copilot.tools.measures import BUSINESS
from tests.unit.rag_assets.test_copilot_names import FLEET, NOW


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("How many failures were there in the last two weeks?", ""),
        ("How many errors did CNC-A-101 raise since the weekend?", "'since the weekend' is not understood"),
        ("How many errors did CNC-A-101 raise since 1000-01-01?", "outside of 1990 to 2100"),
        ("How many failures were there in plant-north in the last 7 days?", "about all plants"),
        ("What was the downtime of plant-north in the last 7 days?", ""),
        ("What does E101 mean since last night?", ""),
    ],
)
def test_an_answer_says_what_it_is_not_about(text: str, said: str) -> None:
    """Forbids another period's or all plants' count in place of the one asked for, without a word."""
    named = tuple(measure for measure in BUSINESS if measure.pattern.search(text))
    reading = read_question(Question(text, "works"), FLEET, named, NOW)
    found = caveat(reading, {"plant-north", "plant-west"})

    assert said in found
    assert bool(said) == bool(found)
