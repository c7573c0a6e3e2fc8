"""Are the readings fit to be read? Sensor faults, their grades, and what is masked.

Judgements about single sensors stand here. Avoid judgements about models: drift verdicts are `ml.drift`.
"""
