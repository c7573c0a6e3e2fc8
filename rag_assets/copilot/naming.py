"""Which machines and plants a question names: by id, by a part of the id, by name, or none of the tenant's.

A name that fits several machines is never resolved by guessing. Avoid reading topics here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rag_assets.copilot.absent_names import absent_names, number_of, numbered

_MACHINE_LIKE = re.compile(
    r"(?<![\w-])(?:[A-Za-z]{2,}(?:-[A-Za-z]+)*-\d{2,}|[A-Za-z]{3}-[A-Za-z]-\d+)(?![\w-]*\w)"
)
_NUMBERED = re.compile(r"\b(?:machine|asset|equipment|unit|number|no\.?)\s+#?(\d{1,5})\b", re.IGNORECASE)
_GENERIC = {"machine", "the", "plant", "unit", "line", "hall"}
_AMBIGUOUS_LIMIT = 12


@dataclass(frozen=True)
class Naming:
    """What a question names.

    Attributes:
        machines: Ids of the tenant's machines, in the order of mention.
        unknown: Names that look like machine ids and are none of the tenant's.
        ambiguous: What was said → the machines that it may mean.
        plants: Ids of the tenant's plants.
        text: The question without machine ids, which only add noise to document search.
        is_by_id: Whether a machine is named by its whole id.
        absent: Further names that read like a machine or a plant and are none of the tenant's. A manual's
            question may name such a part; a figure of one is nobody's.
        absent_codes: The same of names that read like an error code or a model, such as `PX-12`.
    """

    machines: tuple[str, ...]
    unknown: tuple[str, ...]
    ambiguous: Mapping[str, tuple[str, ...]]
    plants: tuple[str, ...]
    text: str
    is_by_id: bool
    absent: tuple[str, ...] = ()
    absent_codes: tuple[str, ...] = ()

    def strictly(self, may_name_codes: bool) -> "Naming":
        """The same where every name has to exist: what is absent is unknown."""
        absent = self.absent if may_name_codes or self.machines else (*self.absent, *self.absent_codes)
        return replace(self, unknown=tuple(dict.fromkeys((*self.unknown, *absent))))


def read_names(text: str, fleet: Mapping[str, Mapping[str, Any]], equipment_id: str | None = None) -> Naming:
    """Read the names of a question.

    Args:
        text: The question.
        fleet: Machine id → `equipment_name`, `plant_id`, `equipment_model`.
        equipment_id: The machine that the asker gave beside the question; counts as named.
    """
    known = {machine.lower(): machine for machine in fleet}
    shapes = {_shape(machine) for machine in known}
    named = [match.group() for match in _MACHINE_LIKE.finditer(text)]
    machines: list[str] = []
    unknown: list[str] = []
    if equipment_id:
        (machines if equipment_id.lower() in known else unknown).append(
            known.get(equipment_id.lower(), equipment_id)
        )
    for name, machine in _spaced(text, known):
        machines.append(machine)
        text = text.replace(name, machine)
    rest = text
    for name in named:
        if name.lower() in known:
            machines.append(known[name.lower()])
        elif _shape(name.lower()) in shapes:
            unknown.append(name)
        else:
            continue  # `CP-80` is a model and `CNC-A-999` a machine that does not exist: their shapes differ
        rest = rest.replace(name, " ")
    is_by_id = bool(machines)
    ambiguous: dict[str, tuple[str, ...]] = {}
    if not machines and not unknown:
        found, ambiguous = _by_part(rest, fleet)
        machines.extend(found)
    absent = [pair for pair in absent_names(text, fleet, _callings(fleet)) if pair[0] not in unknown]
    return Naming(
        machines=tuple(dict.fromkeys(machines)),
        unknown=tuple(dict.fromkeys(unknown)),
        ambiguous=ambiguous,
        plants=_plants(text, fleet),
        text=" ".join(rest.split()),
        is_by_id=is_by_id,
        absent=tuple(dict.fromkeys(name for name, is_code in absent if not is_code)),
        absent_codes=tuple(dict.fromkeys(name for name, is_code in absent if is_code)),
    )


def _spaced(text: str, known: Mapping[str, str]) -> list[tuple[str, str]]:
    """Whole ids that are written with spaces, such as "cnc a 101": (as written, id)."""
    words = list(re.finditer(r"[A-Za-z]+|\d+", text))
    found: list[tuple[str, str]] = []
    for place, word in enumerate(words):
        end, spelt = word.end(), word.group().lower()
        for following in words[place + 1 : place + 4]:
            if text[end : following.start()] not in {" ", "_"}:
                break
            end, spelt = following.end(), f"{spelt}-{following.group().lower()}"
            if spelt in known:
                found.append((text[word.start() : end], known[spelt]))
    return found


def _by_part(
    text: str, fleet: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Machines by number ("machine 203"), by the whole name, or by the kind in "the press"."""
    mentions: dict[str, tuple[str, ...]] = {}
    for match in _NUMBERED.finditer(text):
        number = int(match.group(1))
        mentions[match.group()] = tuple(machine for machine in fleet if number_of(machine) == number)
    callings = _callings(fleet)
    names = {str(row.get("equipment_name") or "").lower() for row in fleet.values()}
    for match in numbered(text, callings):
        if not any(name.endswith(match.group().lower()) for name in names):
            mentions[match.group()] = tuple(
                machine
                for machine in callings[match.group(1).lower()]
                if number_of(machine) == int(match.group(2))
            )
    lower = text.lower()
    for machine, row in fleet.items():
        name = str(row.get("equipment_name") or "")
        # A fleet has more names than the cache of compiled patterns: most are left out without one.
        if (
            len(name) > 3
            and name.lower() in lower
            and re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE)
        ):
            mentions[name] = (*mentions.get(name, ()), machine)
    if not mentions:
        mentions = _by_kind(text, fleet)
    found = [machines[0] for machines in mentions.values() if len(machines) == 1]
    ambiguous = {
        said: machines[:_AMBIGUOUS_LIMIT] for said, machines in mentions.items() if len(machines) > 1
    }
    return found, ambiguous


def _by_kind(text: str, fleet: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """What "the press" means where machines are called "Press 1", "Press 2": one, several, or none."""
    for word, machines in _kinds(fleet).items():
        if re.search(rf"\b(?:the|this|our|my)\s+{word}\b", text, re.IGNORECASE):
            return {f"the {word}": tuple(machines)}
    return {}


def _callings(fleet: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Words that may stand before a machine's number → the machines: kinds, and the beginnings of ids."""
    callings = _kinds(fleet)
    for machine in fleet:
        first, dash, _ = machine.lower().partition("-")
        if dash and first.isalpha() and first not in _GENERIC:
            callings.setdefault(first, []).append(machine)
    return callings


def _kinds(fleet: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Words of machines' names → the machines."""
    kinds: dict[str, list[str]] = {}
    for machine, row in fleet.items():
        words = re.findall(r"[a-z]{4,}", str(row.get("equipment_name") or "").lower())
        for word in words:
            if word not in _GENERIC:
                kinds.setdefault(word, []).append(machine)
    # A word that all machines carry names none of them.
    return {word: machines for word, machines in kinds.items() if len(machines) < len(fleet)}


def _plants(text: str, fleet: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    plants: Sequence[str] = sorted({str(row["plant_id"]) for row in fleet.values() if row.get("plant_id")})
    return tuple(plant for plant in plants if _is_named(plant, text))


def _is_named(plant: str, text: str) -> bool:
    """Whether a text names a plant: "plant north" is `plant-north`, `plant-northwest` is another one."""
    name = "[- ]".join(map(re.escape, plant.split("-")))
    return re.search(rf"(?<![\w-]){name}(?![\w-]*\w)", text, re.IGNORECASE) is not None


def _shape(name: str) -> str:
    return re.sub(r"[a-z]+", lambda match: "a" if len(match.group()) == 1 else "aa", re.sub(r"\d", "9", name))
