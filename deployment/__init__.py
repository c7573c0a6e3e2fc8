"""How opsgraph is run."""
