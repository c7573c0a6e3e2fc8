"""Documents, retrieval and the copilot; plain Python, no Dagster."""
