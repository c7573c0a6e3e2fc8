"""Writes everything that is derived from the contracts into the repository, or says what is stale.

Add a derivation by adding its files to `derived_files`. Avoid deriving here: each derivation is a
pure function of the contracts in a module of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration.ingest.contracts.dbt import field_macros, fill_metric_regions, source_yml
from orchestration.ingest.contracts.expectations import suite_text
from orchestration.ingest.contracts.load import load_contracts
from orchestration.ingest.contracts.metrics import metrics_text
from orchestration.ingest.contracts.model import ContractError, Direction, TopicContract
from orchestration.ingest.contracts.revisions import next_revision, read_chain
from orchestration.ingest.contracts.schema_ids import (
    pin_new_schemas,
    pinned_path,
    pinned_schemas,
    pinned_text,
)

CONTRACTS_PATH = Path("orchestration/ingest/contracts")
VERSIONS_PATH = Path("orchestration/migrations/versions")
DBT_SOURCES_PATH = Path("dbt_project/models/staging/_raw__sources.yml")
DBT_MACROS_PATH = Path("dbt_project/macros/generated/contract_fields.sql")
DBT_MODELS_PATH = Path("dbt_project/models")
METRICS_PATH = Path("ml/features/generated/metrics.json")
SUITES_PATH = Path("ml/validation/generated")


@dataclass(frozen=True)
class DerivedFile:
    """A derived file that does not hold what the contracts say.

    Attributes:
        path: Path from the repository's root.
        text: What it has to hold.
        is_new: Whether the file does not exist yet.
    """

    path: Path
    text: str
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
        DBT_SOURCES_PATH: source_yml(contracts),
        DBT_MACROS_PATH: field_macros(contracts),
        METRICS_PATH: metrics_text(contracts),
    }
    for contract in contracts.values():
        if contract.direction is Direction.IN:
            files[SUITES_PATH / f"{contract.topic}.json"] = suite_text(contract)
    files |= _filled_models(root, contracts)
    revision = next_revision(contracts, read_chain(root / VERSIONS_PATH))
    if revision:
        files[VERSIONS_PATH / revision.file] = revision.text
    return files


def _filled_models(root: Path, contracts: Mapping[str, TopicContract]) -> dict[Path, str]:
    """The hand-written yml files of dbt models, with their metric regions filled."""
    files: dict[Path, str] = {}
    for path in sorted((root / DBT_MODELS_PATH).rglob("*.yml")):
        text = path.read_text(encoding="utf-8")
        if "contract metrics" in text:
            try:
                files[path.relative_to(root)] = fill_metric_regions(text, contracts)
            except ContractError as error:
                raise ContractError(f"{path.relative_to(root)}: {error}") from error
    return files


def stale_files(root: Path) -> list[DerivedFile]:
    """The derived files that are not what the contracts ask for; empty when all agree."""
    stale: list[DerivedFile] = []
    for path, text in derived_files(root).items():
        target = root / path
        if not target.exists():
            stale.append(DerivedFile(path, text, is_new=True))
        elif target.read_text(encoding="utf-8") != text:
            stale.append(DerivedFile(path, text, is_new=False))
    return stale


def sync(root: Path) -> list[DerivedFile]:
    """Bring every derived file up to the contracts.

    Args:
        root: Root of the repository, or of a copy.

    Returns:
        What was written; empty when everything agreed, so a second run changes nothing.

    Raises:
        ContractError: See `derived_files`; nothing is written then.
    """
    changed = stale_files(root)
    for file in changed:
        target = root / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.text, encoding="utf-8")
    return changed
