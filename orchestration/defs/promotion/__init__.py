"""Promotion and batch prediction: what serves, since when, and what it says."""
