"""Features, datasets, models, training, registry and serving; plain Python, no Dagster."""
