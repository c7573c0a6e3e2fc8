from dataclasses import replace
from datetime import date

import pytest

from rag_assets.documents import Document
from rag_assets.freshness import covers, not_applicable, not_current

ON = date(2026, 6, 1)


def edition(
    document_id: str, version: str, effective_on: date | None, supersedes: tuple[str, ...] = ()
) -> Document:
    return Document(
        "plant",
        document_id,
        version,
        "T",
        "p.md",
        "",
        "text",
        effective_on=effective_on,
        supersedes=supersedes,
    )


def test_only_the_newest_effective_version_is_current() -> None:
    """Forbids citing an old edition, and citing one before it takes effect."""
    old = edition("seal", "1", date(2024, 1, 1))
    current = edition("seal", "2", date(2026, 1, 1))
    future = edition("seal", "3", date(2026, 12, 1))

    reasons = not_current([current, old, future], ON)

    assert reasons == {"seal@1": "superseded by seal@2", "seal@3": "takes effect on 2026-12-01"}


def test_without_a_date_the_version_number_tells_which_is_newer() -> None:
    """Forbids that version 2 is out because only version 1 has a date, in whatever order they are read."""
    editions = [edition("seal", "1", date(2026, 1, 1)), edition("seal", "2", None)]
    # By dates 1 beats 3, by numbers 3 beats 2 and 2 beats 1: one rule must hold for all three.
    circle = [*editions, edition("seal", "3", date(2025, 1, 1))]

    for order in (editions, editions[::-1]):
        assert not_current(order, ON) == {"seal@1": "superseded by seal@2"}
    for order in (circle, circle[::-1]):
        assert set(not_current(order, ON)) == {"seal@1", "seal@2"}


def test_a_successor_counts_only_when_it_is_effective() -> None:
    """Forbids that next year's document leaves this year without any."""
    old = edition("tray", "1", date(2024, 1, 1))
    successor = edition("leak", "1", date(2027, 1, 1), supersedes=("tray",))

    assert "tray@1" not in not_current([old, successor], ON)
    assert not_current([old, successor], date(2027, 1, 1))["tray@1"] == "superseded by leak@1"


def test_a_chain_of_successors_ends_in_one_current_document() -> None:
    """Forbids that a document comes back because its successor was superseded too."""
    chain = [
        edition("a", "1", date(2023, 1, 1)),
        edition("b", "1", date(2024, 1, 1), supersedes=("a@1",)),
        edition("c", "1", date(2025, 1, 1), supersedes=("b",)),
    ]

    assert set(not_current(chain, ON)) == {"a@1", "b@1"}


def test_a_document_that_names_itself_stays() -> None:
    """Forbids that `supersedes: seal` in the newest seal removes it."""
    newest = edition("seal", "2", date(2026, 1, 1), supersedes=("seal",))

    assert set(not_current([edition("seal", "1", None), newest], ON)) == {"seal@1"}


@pytest.mark.parametrize(
    ("specification", "firmware", "expected"),
    [
        ("4.1", "4.1", True),
        ("4.1", "4.1.3", True),
        ("4.1", "4.10", False),
        (">=4.2", "4.10", True),
        (">=4.2", "4.1", False),
        ("<4.2", "4.1.9", True),
        (">=4.1, <4.2", "4.2", False),
        ("2.4 - 2.6", "2.6.1", True),
        ("2.4 - 2.6", "2.7", False),
        ("any release", "1.0", True),
        (">=4.2.0", "4.2", True),
        ("4.2.0", "4.2", True),
        ("4.2.1", "4.2", False),
        ("<4.2.0", "4.2", False),
        (">4.2.0", "4.2", False),
        ("4.2.0 - 4.3.0", "4.2", True),
        ("4.1.0 - 4.2.0", "4.2", True),
    ],
)
def test_firmware_is_compared_by_number(specification: str, firmware: str, expected: bool) -> None:
    """Forbids comparing versions as text, where 4.10 comes before 4.2."""
    assert covers(specification, firmware) is expected


def test_documents_about_other_machines_or_firmware_do_not_apply() -> None:
    """Forbids citing a press manual for a spindle, and last year's firmware for this year's."""
    spindle_old = replace(edition("e101", "1", None), machine_models=("HX-500",), firmware="4.1")
    spindle_new = replace(edition("e101", "2", None), machine_models=("HX-500",), firmware=">=4.2")
    press = replace(edition("press", "1", None), machine_models=("HP-300",))
    general = edition("general", "1", None)
    documents = [spindle_old, spindle_new, press, general]

    out = not_applicable(documents, {"HX-500": frozenset({"4.2"})}, "HX-500")

    assert set(out) == {"e101@1", "press@1"}
    assert set(not_applicable(documents, {}, None)) == set()
