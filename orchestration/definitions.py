"""The Dagster code location: everything under `defs/`, with the resources bound once.

Add a stage by adding a folder under `orchestration/defs/`. Avoid definitions here.
"""

from pathlib import Path

import dagster as dg

from orchestration.resources import build_resources


@dg.definitions
def defs() -> dg.Definitions:
    """Collect the definitions of all stages and bind the resources."""
    folder = Path(__file__).parent / "defs"  # alone: the packages' components are 1.5 s of loading, unused here
    stages = dg.ComponentTree.for_project(folder).build_defs(folder)
    return dg.Definitions.merge(stages, dg.Definitions(resources=build_resources()))
