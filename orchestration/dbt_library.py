"""dagster-dbt without dbt-core in this process; import the library from here.

dbt always runs as a process of its own (`resources.dbt`). Importing dbt-core beside it, for its names of
node types and for its selection engine, was half of what every code server and every run waits for.
dagster-dbt can be without it: its imports see a process that has none, and the one thing that is then
missing, selecting by tag, is done here. A test compares the selection with dbt's own. Add a form of
selection when a definition needs it. Avoid dbt here; `dbt_invocation` starts it.
"""

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

BY_TAG = "tag:"
DBT_CORE = "dbt.version"  # what dagster-dbt asks whether dbt-core is there


@contextmanager
def _absent(module: str) -> Iterator[None]:
    """Let imports of a module fail as if it were not installed; one that is loaded already stays."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # pyright: ignore[reportArgumentType] - documented: the import then fails
    try:
        yield
    finally:
        del sys.modules[module]


with _absent(DBT_CORE):
    import dagster_dbt as dagster_dbt
    from dagster_dbt import asset_utils


def select_by_tag(
    select: str, exclude: str, selector: str, project: object, manifest_json: Mapping[str, Any]
) -> Collection[str]:
    """Nodes of a manifest, as dbt selects them with its usual indirect selection of tests.

    Args:
        select: `tag:<name>` or what stands for all nodes.
        exclude: `tag:<name>` or nothing.
        selector: Not supported.
        project: Not needed.
        manifest_json: dbt's manifest.

    Raises:
        ValueError: Another form of selection.
    """
    is_all = select in ("", "fqn:*")
    if selector or not (is_all or select.startswith(BY_TAG)) or (exclude and not exclude.startswith(BY_TAG)):
        raise ValueError(
            f"dbt_assets(select={select!r}, exclude={exclude!r}, selector={selector!r}): without dbt-core "
            "only `tag:<name>` is understood; add the form to orchestration/dbt_library.py"
        )
    nodes: Mapping[str, Any] = manifest_json["nodes"]
    chosen = set(nodes) if is_all else _tagged(nodes, select.removeprefix(BY_TAG))
    return chosen - (_tagged(nodes, exclude.removeprefix(BY_TAG)) if exclude else set())


def _tagged(nodes: Mapping[str, Any], tag: str) -> set[str]:
    """Nodes with a tag, and the tests of any of them."""
    tagged = {name for name, node in nodes.items() if tag in node["tags"]}
    return tagged | {
        name
        for name, node in nodes.items()
        if node["resource_type"] == "test" and tagged.intersection(node["depends_on"]["nodes"])
    }


asset_utils.select_unique_ids = select_by_tag  # pyright: ignore[reportPrivateImportUsage]
