"""Anomalies: scores from 0 to 1 by a machine's own normal time, and events instead of point flags."""
