"""Fitting, folds and the way from a training set to a registered challenger."""
