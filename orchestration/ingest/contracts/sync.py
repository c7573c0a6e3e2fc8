"""Writes everything that is derived from the contracts into the repository, or says what is stale.

Add a derivation by adding its files to `derived_files`. Avoid deriving here: each derivation is a
pure function of the contracts in a module of its own.
"""

from dataclasses import dataclass
from pathlib import Path

from orchestration.ingest.contracts.load import load_contracts
from orchestration.ingest.contracts.revisions import next_revision, read_chain
from orchestration.ingest.contracts.schema_ids import (
    pin_new_schemas,
    pinned_path,
    pinned_schemas,
    pinned_text,
)

CONTRACTS_PATH = Path("orchestration/ingest/contracts")
VERSIONS_PATH = Path("orchestration/migrations/versions")


@dataclass(frozen=True)
class StaleFile:
    """A derived file that does not hold what the contracts say.

    Attributes:
        path: Path from the repository's root.
        text: What it has to hold; None where the file has to go.
        is_new: Whether the file does not exist yet.
    """

    path: Path
    text: str | None
    is_new: bool


def derived_files(root: Path) -> dict[Path, str]:
    """Every derived file of a repository with the content that its contracts ask for.

    Args:
        root: Root of the repository, or of a copy.

    Returns:
        Path from the root to content. A new Alembic revision is among them when a raw table changes.

    Raises:
        ContractError: A contract is wrong, or changed so that data already written would be lost.
    """
    folder = root / CONTRACTS_PATH
    contracts = load_contracts(folder)
    files = {
        pinned_path(CONTRACTS_PATH): pinned_text(pin_new_schemas(contracts, pinned_schemas(folder))),
    }
    revision = next_revision(contracts, read_chain(root / VERSIONS_PATH))
    if revision:
        files[VERSIONS_PATH / revision.file] = revision.text
    return files


def stale_files(root: Path) -> list[StaleFile]:
    """The derived files that are not what the contracts ask for; empty when all agree."""
    stale: list[StaleFile] = []
    for path, text in derived_files(root).items():
        target = root / path
        if not target.exists():
            stale.append(StaleFile(path, text, is_new=True))
        elif target.read_text(encoding="utf-8") != text:
            stale.append(StaleFile(path, text, is_new=False))
    return stale


def sync(root: Path) -> list[StaleFile]:
    """Bring every derived file up to the contracts.

    Args:
        root: Root of the repository, or of a copy.

    Returns:
        What was written; empty when everything agreed, so a second run changes nothing.
    """
    changed = stale_files(root)
    for file in changed:
        target = root / file.path
        if file.text is None:
            target.unlink()
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.text, encoding="utf-8")
    return changed
