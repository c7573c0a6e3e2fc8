"""Features of the failure models: one declared list, one Polars implementation.

Training, batch prediction and single-row serving call the same `build_features`; nothing else in the
project computes a rolling window for a model.
"""
