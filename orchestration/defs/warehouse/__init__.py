"""The warehouse: every dbt model as an asset, every dbt test as a check."""
