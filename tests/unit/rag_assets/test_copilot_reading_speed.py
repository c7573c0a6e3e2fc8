"""Questions that are written to keep the reader busy, and long ones whose end is the question."""

import time

import pytest

from rag_assets.copilot.questions import Question, Topic, read_question
from tests.unit.rag_assets.test_copilot_names import FLEET, NOW

LENGTH = 8000
SLOWEST_S = 0.25
"""Five times what the longest took on a busy core; the patterns that backtrack took 9 s."""
BIG = {f"CNC-A-{n}": {**FLEET["CNC-A-101"], "equipment_name": f"Machining centre {n}"} for n in range(300)}


@pytest.mark.parametrize(
    "phrase",
    [
        "which machine ",
        "what is the most ",
        "which plants the worst ",
        "will the maintenance due ",
        "change the thresholds ",
        "maintenance schedule plan ",
        "services of logs ",
        "how much has what do ",
        "last ",
        "between from since on ",
        "machine 12 press 77 plant-9 ",
        "a-1-1-1-1-1-1-1-1-1-1-1",
        "PUMP-12-",
        "PUMP-77 ",
        "which" + " " * 70,
    ],
)
def test_a_hostile_question_is_read_at_once(phrase: str) -> None:
    """Forbids a question that holds the interpreter for seconds: every other tenant would wait."""
    text = (phrase * LENGTH)[:LENGTH]
    started = time.process_time()
    read_question(Question(text, "works"), BIG, (), NOW)

    assert time.process_time() - started < SLOWEST_S


def test_the_question_may_stand_after_a_long_paste() -> None:
    """Forbids reading only the first lines: people paste the log first and ask below it."""
    paste = "2026-11-20 05:59:01 spindle drive ready\n" * 100
    reading = read_question(Question(f"{paste}\nAny anomalies on CNC-A-101?", "works"), FLEET, (), NOW)

    assert reading.topic is Topic.ANOMALIES
    assert reading.equipment_ids == ("CNC-A-101",)
