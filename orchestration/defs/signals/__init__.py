"""Anomalies, forecasts and quality: three models, their promotions, and what they say about the plant."""
