"""Jobs over the whole graph.

Add a job here when it spans stages. Avoid jobs of one stage: they stand with it.
"""

import dagster as dg

# Days of logs are partitions of their own: a job over everything has no day to give them.
# Suites of Great Expectations run by the hour: 5 s of import that nothing else in the graph waits for.
# Signal models train when the warehouse first stands, and then daily: 15 s that nobody waits for here.
# One process for the whole graph: ten chained assets take 2 s this way and 20 s with a process each.
# Models learn daily by `training`; here a version stays until a day of data is new, as a refresh after
# each landing would else train two models (20 s) for one hour of rows.
KEPT_MODELS = {f"model__{name}": {"config": {"keep_for_h": 24.0}} for name in ("failure_24h", "failure_7d")}

refresh = dg.define_asset_job(
    name="refresh",
    selection=dg.AssetSelection.all()
    - dg.AssetSelection.groups("warehouse_docs", "logs", "signals")
    - dg.AssetSelection.assets(["landing", "expectations"]),
    description="Everything once, in order: land, build, train, predict, index, answer.",
    executor_def=dg.in_process_executor,
    config={"ops": KEPT_MODELS},
    tags={"dagster/priority": "1"},
)
