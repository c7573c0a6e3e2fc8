"""Monitoring: are sensors fit to read, did anything drift, and what is it."""
