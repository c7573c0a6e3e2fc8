"""Batch, push and pull sources: files, web requests, paged APIs and databases into the topics."""
