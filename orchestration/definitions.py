"""The Dagster code location: everything under `defs/`, with the resources bound once.

Add a stage by adding a folder under `orchestration/defs/`. Avoid definitions here.
"""

from functools import cache
from pathlib import Path

import dagster as dg

from orchestration.resources import build_resources


@dg.definitions
@cache  # a run that is forked from a process that has them takes them as they are
def defs() -> dg.Definitions:
    """Collect the definitions of all stages and bind the resources."""
    # The folder alone: `load_from_defs_folder` also imports the packages' components, 1.5 s for nothing here.
    folder = Path(__file__).parent / "defs"
    stages = dg.ComponentTree.for_project(folder).build_defs(folder)
    return dg.Definitions.merge(stages, dg.Definitions(resources=build_resources()))
