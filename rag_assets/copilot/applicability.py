"""Which machine models and firmware a question is about, so that documents for others are left out.

Search, answers and their audit ask here, so that they agree. Avoid judging documents: that is
`rag_assets.freshness`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rag_assets.freshness import FirmwareInUse


@dataclass(frozen=True)
class Applicability:
    """What documents have to be written for.

    Attributes:
        machine_model: Of the machine in question; None where it is about no single one.
        firmware_in_use: Of that machine, else of the whole fleet.
    """

    machine_model: str | None
    firmware_in_use: FirmwareInUse


def applicability(machines: Mapping[str, Mapping[str, Any]], machine_id: str | None) -> Applicability:
    """What documents have to be written for.

    Args:
        machines: The tenant's machines by id, with `equipment_model` and `firmware_version`.
        machine_id: The machine in question; one that the tenant does not have counts as none.
    """
    machine = machines.get(machine_id or "")
    in_use: dict[str, set[str]] = {}
    for row in [machine] if machine else machines.values():
        if row.get("equipment_model") and row.get("firmware_version"):
            in_use.setdefault(str(row["equipment_model"]), set()).add(str(row["firmware_version"]))
    model = machine.get("equipment_model") if machine else None
    return Applicability(model, {name: frozenset(versions) for name, versions in in_use.items()})
