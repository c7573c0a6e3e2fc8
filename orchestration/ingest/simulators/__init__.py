"""Seeded sources with a ground truth kept apart."""
