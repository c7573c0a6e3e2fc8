"""Landing: topics as external assets, raw tables as assets, the ledger as their checks."""
