"""Training sets as a function of (tenant, as_of, horizon): reading, labels, digest.

Add a source of history here when models need to be judged on it. Avoid computing features: that is
`ml.features`.
"""
