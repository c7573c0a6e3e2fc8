"""The orchestration package: Dagster definitions, ingest, the API and the command line."""
