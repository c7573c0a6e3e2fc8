"""Batch predictions: score machines as of an instant, with reasons, and store them idempotently."""
