"""Logs: windows, templates, incidents and alerts by day, and who is alive."""
