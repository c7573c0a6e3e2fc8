"""Remaining useful life as a regression on features of a unit's own past."""
