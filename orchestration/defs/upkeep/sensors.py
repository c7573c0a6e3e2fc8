"""The sensor that follows the automation conditions of all assets."""

import dagster as dg

# Dagster's own default for these conditions is a sensor that starts switched off.
follow_upstream = dg.AutomationConditionSensorDefinition(
    name="follow_upstream",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    description="Materializes what depends on fresh and sound upstream assets: predictions, marts, answers.",
)
