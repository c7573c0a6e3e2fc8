"""The scenario bank: real and simulated series with injected changes whose nature is known.

It judges the verdicts. Avoid using it to set anything at run time: thresholds stand beside the rules.
"""
