"""Which documents are current: supersession by version and date, and the firmware in use.

Avoid ranking here: a document that is out is out, however well its words match.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Protocol

_CLAUSE = re.compile(r"^(>=|<=|>|<|==|=)?\s*v?(\d+(?:\.\d+)*)$")
_RANGE = re.compile(r"^v?(\d+(?:\.\d+)*)\s*(?:-|–|to)\s*v?(\d+(?:\.\d+)*)$")

FirmwareInUse = Mapping[str, frozenset[str]]
"""Machine model → firmware versions that its machines run."""


class Dated(Protocol):
    """What the rules read of a document."""

    @property
    def key(self) -> str:
        """`id@version`."""
        ...

    @property
    def document_id(self) -> str:
        """Equal across versions."""
        ...

    @property
    def version(self) -> str:
        """Version text."""
        ...

    @property
    def effective_on(self) -> date | None:
        """First day on which it holds."""
        ...

    @property
    def supersedes(self) -> tuple[str, ...]:
        """Ids or keys that it replaces."""
        ...

    @property
    def machine_models(self) -> tuple[str, ...]:
        """Models that it is written for."""
        ...

    @property
    def firmware(self) -> str | None:
        """Firmware that it is written for."""
        ...


def not_current(documents: Iterable[Dated], on: date) -> dict[str, str]:
    """Documents of one tenant that must not be cited as current on a day.

    Out are those that are not effective yet, older versions of the same id, and those that an
    effective document names in `supersedes` (by id or by `id@version`). Versions of an id are ordered
    by their dates, and by their numbers where one of them has no date.

    Args:
        documents: All documents of the tenant.
        on: The day of the question.

    Returns:
        Key of each document that is out → why, in words.
    """
    reasons: dict[str, str] = {}
    effective: list[Dated] = []
    for document in documents:
        if document.effective_on and document.effective_on > on:
            reasons[document.key] = f"takes effect on {document.effective_on}"
        else:
            effective.append(document)
    editions: dict[str, list[Dated]] = {}
    for document in effective:
        editions.setdefault(document.document_id, []).append(document)
    newest = {document_id: _newest(found) for document_id, found in editions.items()}
    named = {
        target: document for document in effective for target in document.supersedes if target != document.key
    }
    for document in effective:
        successor = newest[document.document_id]
        if successor is not document:
            reasons[document.key] = f"superseded by {successor.key}"
            continue
        replaced_by = named.get(document.key) or named.get(document.document_id)
        if replaced_by and replaced_by.document_id != document.document_id:
            reasons[document.key] = f"superseded by {replaced_by.key}"
    return reasons


def not_applicable(
    documents: Iterable[Dated], firmware_in_use: FirmwareInUse, machine_model: str | None
) -> dict[str, str]:
    """Documents that are about other machines, or about firmware that no machine in question runs.

    Args:
        documents: Documents of one tenant.
        firmware_in_use: What the machines in question run; a model that is missing is not judged.
        machine_model: Model of the machine that the question is about, if it is about one.

    Returns:
        Key of each document that is out → why, in words.
    """
    reasons: dict[str, str] = {}
    for document in documents:
        models = document.machine_models
        if machine_model and models and machine_model not in models:
            reasons[document.key] = f"written for {', '.join(models)}, not {machine_model}"
            continue
        concerned = [machine_model] if machine_model else list(models)
        running = {version for model in concerned for version in firmware_in_use.get(model, ())}
        if document.firmware and running and not any(covers(document.firmware, item) for item in running):
            reasons[document.key] = (
                f"written for firmware {document.firmware}, not {', '.join(sorted(running))}"
            )
    return reasons


def covers(specification: str, firmware: str) -> bool:
    """Whether a document's firmware specification covers a version.

    A plain version covers itself and its patches; a specification that can't be read covers all,
    because leaving out the only runbook is worse than citing it with its firmware beside it.

    >>> covers("4.1", "4.1.3"), covers(">=4.2", "4.1"), covers("4.1 - 4.2", "4.2")
    (True, False, True)
    >>> covers(">=4.2.0", "4.2"), covers("4.2.0", "4.2"), covers("<4.2.0", "4.2")
    (True, True, False)
    """
    version = _numbers(firmware)
    if version is None:
        return True
    span = _RANGE.match(specification.strip())
    if span:
        low, high = _numbers(span.group(1)) or (), _numbers(span.group(2)) or ()
        return low <= _padded(version, low) and _padded(version, high)[: len(high)] <= high
    for clause in specification.split(","):
        match = _CLAUSE.match(clause.strip())
        if match and not _clause_holds(match.group(1), _numbers(match.group(2)) or (), version):
            return False
    return True


def _clause_holds(operator: str | None, bound: tuple[int, ...], version: tuple[int, ...]) -> bool:
    version = _padded(version, bound)
    if operator == ">=":
        return version >= bound
    if operator == ">":
        return version[: len(bound)] > bound
    if operator == "<":
        return version < bound
    prefix = version[: len(bound)]
    return prefix <= bound if operator == "<=" else prefix == bound


def _numbers(version: str) -> tuple[int, ...] | None:
    match = re.match(r"v?(\d+(?:\.\d+)*)", version.strip())
    return tuple(int(part) for part in match.group(1).split(".")) if match else None


def _padded(version: tuple[int, ...], bound: tuple[int, ...]) -> tuple[int, ...]:
    """4.2 is 4.2.0 where it is compared with 4.2.0."""
    return version + (0,) * (len(bound) - len(version))


def _newest(editions: Sequence[Dated]) -> Dated:
    """One rule for all editions: date against number, pair by pair, could go round in a circle."""
    if all(edition.effective_on for edition in editions):
        return max(editions, key=lambda item: (item.effective_on or date.min, *_version_order(item)))
    return max(editions, key=_version_order)


def _version_order(document: Dated) -> tuple[tuple[int, ...], str]:
    return _numbers(document.version) or (), document.version
