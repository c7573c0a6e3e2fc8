"""Real data sets put through the same topics."""
