"""The one FastAPI application of opsgraph."""
