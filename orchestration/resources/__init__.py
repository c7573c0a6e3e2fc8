"""Thin Dagster resources over the domain packages."""
