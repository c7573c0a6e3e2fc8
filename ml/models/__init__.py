"""Trained models as plain objects: predict, explain, save to and load from a folder without pickle."""
