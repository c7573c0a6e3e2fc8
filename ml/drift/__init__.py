"""Drift: what changed, whether it matters, and what it is, before anything is retrained.

Tests of one batch or one window, the verdict, its ledger and its grades stand here. Avoid training:
a verdict asks for it, `ml.training` does it.
"""
