"""Machines and plants that the tenant does not have, and what only looks like one."""

import pytest

from rag_assets.copilot.questions import Question, Reading, Topic, read_question
from rag_assets.copilot.tools.measures import BUSINESS, sensor_measures
from tests.unit.rag_assets.test_copilot_reading import COLUMNS, NOW

FLEET = {
    "CNC-A-101": {
        "equipment_name": "Machining centre 1",
        "plant_id": "plant-north",
        "equipment_model": "HX-500",
        "firmware_version": "4.2",
    },
    "CNC-A-102": {
        "equipment_name": "Press 2",
        "plant_id": "plant-north",
        "equipment_model": "HX-500",
        "firmware_version": "4.2",
    },
    "CNC-A-103": {
        "equipment_name": "Press 3",
        "plant_id": "plant-west",
        "equipment_model": "CP-80",
        "firmware_version": "1.0",
    },
}


def _read(text: str) -> Reading:
    measures = tuple(m for m in (*sensor_measures(COLUMNS), *BUSINESS) if m.pattern.search(text))
    return read_question(Question(text, "works"), FLEET, measures, NOW)


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("What was the average temperature of PUMP-0007 last week?", "PUMP-0007"),
        ("What was the average temperature of CNC-B2-77 last week?", "CNC-B2-77"),
        ("What was the average temperature of machine 999 last week?", "machine 999"),
        ("What was the average temperature of plant-south last week?", "plant-south"),
        ("What was the average temperature of plant South last week?", "plant South"),
        ("What was the downtime of plant 7 in the last 7 days?", "plant 7"),
        ("How many failures did press-12 have?", "press-12"),
        ("How many failures did press 12 have in the last week?", "press 12"),
        ("How many failures did CNC 999 have in the last week?", "CNC 999"),
        ("Why did the downtime of LATHE-0042 rise?", "LATHE-0042"),
        ("What is the forecast of the temperature of LATHE-0042?", "LATHE-0042"),
        ("When is maintenance due for PX-12?", "PX-12"),
        ("What was the average temperature of PX-12 last week?", "PX-12"),
        ("Any anomalies on lathe_0042?", "lathe_0042"),
        ("What changed on LATHE-0042 in the last 10 days?", "LATHE-0042"),
        ("How is PUMP-0007 doing?", "PUMP-0007"),
        ("Which machines fail next in plant-south?", "plant-south"),
        ("Compare the uptime of plant-north and plant-south last week", "plant-south"),
        ("What was the mean temperature of CNC-A-101 and machine 999 last week?", "machine 999"),
    ],
)
def test_a_figure_of_what_the_tenant_does_not_have_names_it(text: str, unknown: str) -> None:
    """Forbids the whole fleet's figure for a machine or plant that does not exist."""
    reading = _read(text)

    assert reading.topic is not Topic.HOW_TO
    assert reading.names.unknown == (unknown,)


@pytest.mark.parametrize(
    "text",
    [
        "How many E101 errors were raised in the last 7 days?",
        "How often was E-101 raised in the last 7 days?",
        "What was the average temperature since 2026-11-01?",
        "What was the average temperature between 2026-11-01 and 2026-11-03?",
        "Which machine had the highest vibration by ISO-10816 last week?",
        "How many errors did the HX-500 raise in the last 7 days?",
        "What was the downtime of the top-10 machines last week?",
        "What was the plant-wide uptime last week?",
        "What was the uptime of plant north last week?",
        "What was the downtime in week-46 and on Nov-20, in the last 30 days?",
        "What was the average temperature of machine 102 last week?",
        "What was the average temperature of Press 2 last week?",
        "How many errors did the press 2 weeks ago raise, in the last 30 days?",
        "What was the plant manager told of the downtime last week?",
        "What was the downtime of the plant on Monday last week?",
    ],
)
def test_codes_models_standards_and_dates_are_no_machines(text: str) -> None:
    """Forbids refusing a question because a code, a standard or a date looks like a machine."""
    assert _read(text).names.unknown == ()


@pytest.mark.parametrize(
    "text",
    [
        "How do I change the oil to ISO-4406 on the CP-80?",
        "Which seal does pump-0007 of the manual take, BRG-7014 or API-2?",
        "coolant flow low E101 on spindle-2",
        "pod api-12 restarts again and again on node-3",
    ],
)
def test_what_is_asked_of_documents_may_name_anything(text: str) -> None:
    """Forbids refusing a manual's question because of a name that no machine has."""
    reading = _read(text)

    assert reading.topic is Topic.HOW_TO
    assert reading.names.unknown == ()


@pytest.mark.parametrize("said", ["cnc a 101", "CNC_A_101", "CNC 101", "Machining centre 1", "machine 101"])
def test_a_machine_may_be_named_without_its_hyphens(said: str) -> None:
    """Forbids the whole fleet's figure because an id is written with spaces."""
    reading = _read(f"What was the mean temperature of {said} in the last 2 days?")

    assert reading.topic is Topic.MEASURE
    assert reading.equipment_ids == ("CNC-A-101",)
    assert reading.names.unknown == ()
