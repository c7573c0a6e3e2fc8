"""The MLflow registry behind one small class, and the ledger of what served when.

Registered models are shared by all tenants (`failure-24h`, `failure-7d`); a version belongs to the tenant
in its tags. MLflow has one alias of a name per registered model, so each tenant has its own:
`champion-<tenant>` and `challenger-<tenant>`. The plain `champion` and `challenger` point at the version
that was promoted or registered last, whichever tenant it is of: they are for people who browse.
Code that serves asks for the tenant's alias and gets nothing else.
"""
