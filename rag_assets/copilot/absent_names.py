"""Names in a question that read like a machine's or a plant's and are none of the tenant's.

Whether such a name matters is for the topic to say: a figure of it is not the fleet's figure, while a
manual may name any part. Add a word that precedes a number without naming a machine here. Avoid
resolving names that exist (`naming.py`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_TOKEN = re.compile(r"(?<![\w.:/@-])[A-Za-z][\w-]*(?![.:/@]\w)")
_LONGEST_NAME = 40
_MACHINE_LIKE = re.compile(r"[A-Za-z]{2,}[A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*[-_]\d+[A-Za-z]?")
_CODE_LIKE = re.compile(r"[A-Za-z]{2,3}-\d{2,4}")
_NOT_A_MACHINE = re.compile(
    r"(?:iso|din|en|iec|api|astm|ansi|nfpa|sae|vdi|vde|atex|ip|sil|nema|asme|rfc|utf|sha|md"
    r"|error|err|comp|component|model|version|ver|rev|firmware|fw|part|type|class|grade|step|phase|level"
    r"|top|last|past|next|first|day|week|month|quarter|year|shift|fy|q[1-4]|h[12]"
    r"|jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec|january|february|march|april|june|july|august"
    r"|september|october|november|december|monday|tuesday|wednesday|thursday|friday|saturday|sunday)[-_].*",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"\b(?:machine|asset|equipment)\s{1,3}#?(\d{1,5})\b", re.IGNORECASE)
_PLANT_WORDS = frozenset({"plant", "site", "factory", "hall"})
_PLACES = r"(?:(?i:north|south|east|west|central|(?:north|south)(?:east|west))|[A-Z]|\d{1,3})\b"
_NOT_A_PLANT = re.compile(r"(?:wide|level|specific|side|floor|based|related|managers?|clock|to)(?![^-])")
_AMOUNT = (
    r"(?!\s{0,3}(?:%|°|x\b|times|bar|mm|kw|rpm|volts?|seconds?|minutes?|h\b|hours?|days?|weeks?|months?))"
)


def absent_names(
    text: str, fleet: Mapping[str, Mapping[str, Any]], callings: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, bool]]:
    """Names of no machine and no plant, in the order of their kinds, each with whether it may be a code.

    Args:
        text: The question.
        fleet: The tenant's machines; without any, nothing can be told from a machine.
        callings: Words that may stand before a machine's number, such as "press" → the machines.
    """
    if not fleet:
        return
    known, numbers = _known(fleet), {number_of(machine) for machine in fleet}
    words = _plant_words(fleet)
    for match in _TOKEN.finditer(text):
        name = match.group().strip("-_")
        if name.lower() in known or len(name) > _LONGEST_NAME:
            continue
        if _is_plant_like(name, words):
            yield name, False
        elif _MACHINE_LIKE.fullmatch(name) and not _NOT_A_MACHINE.fullmatch(name):
            yield name, bool(_CODE_LIKE.fullmatch(name))
    for match in re.finditer(rf"\b(?i:{'|'.join(map(re.escape, sorted(words)))})\s{_PLACES}", text):
        if match.group().lower().replace(" ", "-") not in known:
            yield match.group(), False
    for match in _NUMBERED.finditer(text):
        if int(match.group(1)) not in numbers:
            yield match.group(), False
    called = {str(row.get("equipment_name") or "").lower() for row in fleet.values()}
    for match in numbered(text, callings):
        of_number = (machine for machine in callings[match[1].lower()] if number_of(machine) == int(match[2]))
        if not any(name.endswith(match.group().lower()) for name in called) and not any(of_number):
            yield match.group(), False


def numbered(text: str, callings: Iterable[str]) -> Iterator[re.Match[str]]:
    """Where one of some words stands before a number that is no amount: "press 12", not "press 12 times"."""
    words = "|".join(map(re.escape, sorted(callings))) or "(?!)"
    return re.finditer(rf"\b({words})\s#?(\d{{1,4}})\b{_AMOUNT}", text, re.IGNORECASE)


def number_of(machine: str) -> int | None:
    """The number that an id ends in.

    >>> number_of("PRS-B-007"), number_of("OVEN")
    (7, None)
    """
    digits = machine[len(machine.rstrip("0123456789")) :]
    return int(digits) if digits else None


def _known(fleet: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """What the tenant does have, in lower case: ids, models, plants, firmware, words of names."""
    known = {machine.lower() for machine in fleet}
    for row in fleet.values():
        columns = ("equipment_model", "plant_id", "firmware_version", "equipment_name")
        for value in (str(row.get(column) or "").lower() for column in columns):
            known |= {value, *value.split()}
    return known


def _plant_words(fleet: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """How plants are called: the usual words, and the first words of the tenant's own plants."""
    own = {str(row.get("plant_id") or "").lower().partition("-") for row in fleet.values()}
    return {*_PLANT_WORDS, *(first for first, dash, _ in own if dash)}


def _is_plant_like(name: str, words: set[str]) -> bool:
    first, dash, rest = name.lower().partition("-")
    return bool(dash) and first in words and not _NOT_A_PLANT.match(rest)
