"""What a model is worth: events, probabilities, intervals, baselines, the report and its pictures."""
