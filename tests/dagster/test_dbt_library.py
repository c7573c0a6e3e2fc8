"""dagster-dbt without dbt-core: the same selection, and an error that says what is missing."""

import json
import subprocess
import sys

import pytest

from orchestration.dbt_library import select_by_tag
from orchestration.defs.warehouse.project import warehouse_project
from orchestration.defs.warehouse.translator import PREDICTIONS_TAG

_DBT_SELECTS = """
import json, sys
import dagster_dbt
from dagster_dbt.utils import select_unique_ids
select, exclude, path = sys.argv[1:]
chosen = select_unique_ids(select, exclude, "", None, json.load(open(path)))
print(json.dumps(sorted(chosen)))
"""


@pytest.mark.parametrize(
    ("select", "exclude"), [("fqn:*", f"tag:{PREDICTIONS_TAG}"), (f"tag:{PREDICTIONS_TAG}", "")]
)
def test_the_selection_is_dbts_own(select: str, exclude: str) -> None:
    """Forbids an asset graph that lacks a model, or a check, that dbt would build."""
    path = warehouse_project().manifest_path
    found = subprocess.run(
        [sys.executable, "-c", _DBT_SELECTS, select, exclude, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    manifest = json.loads(path.read_text())
    of_dbt = {name for name in json.loads(found.stdout.splitlines()[-1]) if name in manifest["nodes"]}
    assert of_dbt
    assert set(select_by_tag(select, exclude, "", None, manifest)) == of_dbt


@pytest.mark.parametrize("wrong", ["path:models", "my_model+"])
def test_another_form_of_selection_is_refused(wrong: str) -> None:
    """Forbids a selection that is taken for all models, or for none."""
    with pytest.raises(ValueError, match="without dbt-core"):
        select_by_tag(wrong, "", "", None, {"nodes": {}})
    with pytest.raises(ValueError, match="without dbt-core"):
        select_by_tag("fqn:*", wrong, "", None, {"nodes": {}})
