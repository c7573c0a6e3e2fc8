"""The Dagster definitions, one folder per stage; nothing here computes."""
